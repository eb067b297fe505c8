"""Pictures as drawing files: each form of one, what is refused and where, and bitmaps."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import quickstroke as qs
from quickstroke.drawings.bitmap import to_bitmap, write_bitmaps
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.render import to_png
from quickstroke.errors import FormatError
from quickstroke.formats import read_drawings, word_of

pytest.importorskip("skimage")
Image = pytest.importorskip("PIL.Image")

SQUARE = [np.array([(0, 0), (255, 0), (255, 255), (0, 255), (0, 0)], np.uint8)]
CROSS = [np.array([(0, 0), (255, 255)], np.uint8), np.array([(255, 0), (0, 255)], np.uint8)]


@pytest.fixture(scope="module")
def grey() -> NDArray[np.uint8]:
    """A cross, dark on light."""
    return np.asarray(Image.open(io.BytesIO(to_png([Drawing("", CROSS)]))).convert("L"))


def saved(image: object, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[attr-defined]
    return file.getvalue()


def is_cross(drawing: Drawing) -> bool:
    return [len(stroke) for stroke in drawing.strokes] == [2, 2] and drawing.is_simplified


def test_every_form_of_a_picture_is_the_same_drawing(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    image = Image.fromarray(grey)
    opaque = Image.fromarray(np.dstack([np.zeros((*grey.shape, 3), np.uint8), 255 - grey]))
    path = tmp_path / "cross.png"
    path.write_bytes(saved(image, "PNG"))
    forms = [
        path,
        str(path),
        path.read_bytes(),
        image,
        grey,
        255 - grey,
        grey / 255,
        np.dstack([grey] * 3),
        opaque,
        saved(opaque, "WEBP", lossless=True),
        saved(image.convert("RGB"), "JPEG", quality=60),
        saved(image.convert("P"), "PNG"),
        saved(image.convert("1", dither=0), "PNG"),
        saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        saved(image.resize((1600, 1600)), "JPEG"),
    ]
    assert [is_cross(qs.trace(form)) for form in forms] == [True] * len(forms)
    assert qs.trace(grey, word="cross").word == "cross"


def test_a_photo_is_turned_as_its_camera_says(grey: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    wide = Image.fromarray(grey[: grey.shape[0] // 2])
    (tall, flat) = (qs.trace(saved(wide, "JPEG", **options)) for options in ({"exif": exif}, {}))
    extents = [np.ptp(np.concatenate(drawing.strokes), axis=0) for drawing in (tall, flat)]
    assert extents[0][0] < extents[0][1] and extents[1][0] > extents[1][1]


def bomb(side: int) -> bytes:
    """A PNG that says it has many pixels, and has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_too_many_pixels_are_refused_before_they_are_there(side: int, is_small) -> None:
    def read() -> None:
        with pytest.raises(FormatError, match="pixels"):
            qs.trace(bomb(side))

    read()
    assert is_small(read, 100)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.png", b"", "is no PNG, JPEG or WebP picture"),
        ("a.png", b"GIF89a" + bytes(100), "is no PNG, JPEG or WebP picture"),
        ("a.jpg", b"<!doctype html>", "is no PNG, JPEG or WebP picture"),
        ("a.png", bomb(20), "is damaged, or truncated"),
        ("a.npy", b"<!doctype html>", "is a web page"),
        ("a.npy", b"\x93NUMPY\1\0", "not a .npy file, or truncated"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(name: str, data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError, match=reason) as caught:
        list(read_drawings(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


def test_arrays_that_are_no_picture_are_refused() -> None:
    for array in (np.zeros((3, 3), np.int64), np.zeros(5, np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4))):
        with pytest.raises(FormatError, match="the picture"):
            qs.trace(array)
    for value in (300.0, -1.0, np.nan):
        with pytest.raises(FormatError, match="outside 0 to 1"):
            qs.trace(np.full((9, 9), value))
    with pytest.raises(qs.QuickstrokeError, match="image should be"):
        qs.trace(5)  # type: ignore[arg-type]


def test_bitmaps_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "full_numpy_bitmap_power_outlet.npy"
    write_bitmaps(path, [Drawing("", CROSS), Drawing("", SQUARE)])
    cross, square = read_drawings(path)
    assert cross.word == square.word == "power outlet"
    assert is_cross(cross)
    assert len(square.strokes) == 1 and np.ptp(square.strokes[0], axis=0).min() > 240
    assert is_cross(qs.trace(to_bitmap(CROSS))) and is_cross(qs.trace(to_bitmap(CROSS).ravel()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "truncated: ends in bitmap 2 of 2"),
        (lambda data: data + b"x", "bytes follow its 2 bitmaps"),
        (lambda data: data[:-784] + bytes(784), "bitmap 2: has no ink"),
        (lambda data: data.replace(b"784", b"783"), r"expected uint8 \(N, 784\)"),
        (lambda data: data.replace(b"|u1", b"|O8"), "expected uint8|not a .npy file"),
    ],
)
def test_damaged_bitmaps_are_refused_with_their_number(change, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.npy"
    write_bitmaps(path, [Drawing("", CROSS), Drawing("", SQUARE)])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match=reason) as caught:
        list(read_drawings(path))
    assert caught.value.path == path


def test_a_folder_of_pictures_becomes_a_dataset(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    for word in ("cross", "my_own"):
        (tmp_path / word).mkdir()
        for i in range(4):
            path = tmp_path / word / f"{i}.png"
            Image.fromarray(np.roll(grey, i) // (1 + i)).save(path)
    assert word_of(tmp_path / "my_own" / "0.png") == "my own"
    made = qs.prepare(f"{tmp_path}/**/*.png", tmp_path / "data")
    assert qs.PreparedDataset(tmp_path / "data").classes == ("cross", "my own")
    assert made.n + sum(made.left_out.values()) == 8  # the same strokes are the same drawing
