"""Pictures of drawings become strokes: PNG, JPEG, WebP, and Google's 28x28 bitmaps (numpy_bitmap/<category>.npy).

    picture -> grey -> ink -> strokes -> simplified drawing

Only what a picture shows is known: strokes are those that its lines look like.
"""

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.bitmap import BITMAP_SIDE
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.ink import MOST_SIDE, find_ink
from quickstroke.drawings.simplification import simplify
from quickstroke.drawings.tracing import trace_ink
from quickstroke.errors import (
    ArgumentTypeError,
    FormatError,
    MissingExtra,
    OnInvalid,
    expect_path,
    leaving_out,
    located,
    shown,
)
from quickstroke.formats.input import InputFile, read_npy_header, refuse_html

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = Path | str | bytes | NDArray[Any] | Image

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")
# Of the largest cameras in phones. One that is decompressed takes four bytes a pixel.
MAX_PIXELS = 50_000_000
_MOST_ASPECT = 100
_BITMAP_PIXELS = BITMAP_SIDE**2
# Lines as thin as a pixel cross so often in what is no drawing; nothing that a hand draws has as many.
_MOST_STROKES = 1000


def trace(image: "Picture", *, word: str = "", max_pixels: int = MAX_PIXELS) -> Drawing:
    """The strokes that a picture shows, as a simplified drawing, in an order in which they may have been drawn.

    The lines may be dark on light or light on dark, sharp or photographed.

    Args:
        image: a PNG, JPEG or WebP file or its bytes; a Pillow image; or an array of greys (H, W), colours (H, W, 3), or
            colours with opacity (H, W, 4), uint8, or float from 0 to 1; or one of Google's bitmaps (784,).
        word: what was drawn.
        max_pixels: more are refused before they are decompressed.

    Raises:
        FormatError: no such picture, one of too many pixels, or one without ink or nearly all ink.
        ArgumentTypeError: `image` is none of these.
        MissingExtra: Pillow or scikit-image is not installed.
    """
    try:
        strokes = trace_ink(find_ink(_grey(image, max_pixels)))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("PIL", "scipy", "skimage"):
            raise
        raise MissingExtra("reading pictures", "pictures") from error
    if len(strokes) > _MOST_STROKES:
        raise FormatError(f"the picture has {len(strokes):,} lines; expected at most {_MOST_STROKES:,} of one drawing")
    return Drawing(word, simplify(strokes, layout="points"), is_traced=True)


def read(path: Path, word: str, on_invalid: OnInvalid = None) -> Iterator[Drawing]:
    """The drawing of a picture, or those of a `.npy` of bitmaps.

    Args:
        on_invalid: called with the error of each picture or bitmap that shows no drawing, which is left out.

    Raises:
        FormatError: as `trace`, with the file; or the file is no array of bitmaps.
        MissingExtra: as `trace`.
    """
    if path.suffix.lower() != ".npy":
        with leaving_out(on_invalid), located(path):
            yield trace(path, word=word)
        return
    for number, row in enumerate(_bitmaps(path), start=1):
        with leaving_out(on_invalid), located(path, f"bitmap {number}"):
            yield trace(row, word=word)


def _bitmaps(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The rows uint8 (784,) of a file of bitmaps."""
    with InputFile(path) as file:
        head = file.read(128)
        refuse_html(head, path)
        start = io.BytesIO(head + file.read(1 << 16))
        try:
            shape, fortran, dtype = read_npy_header(start)
        except Exception as error:  # a damaged header raises anything
            raise FormatError(f"not a .npy file, or truncated ({type(error).__name__})", path) from error
        if dtype != np.uint8 or fortran or not shape or shape[1:] not in ((_BITMAP_PIXELS,), (BITMAP_SIDE,) * 2):
            raise FormatError(
                f"has {dtype} {shape!r:.60}; expected uint8 (N, {_BITMAP_PIXELS}), Google's bitmaps of 28 x 28 pixels",
                path,
            )
        rest = start.read()
        for i in range(shape[0]):
            row, rest = rest[:_BITMAP_PIXELS], rest[_BITMAP_PIXELS:]
            row += file.read(_BITMAP_PIXELS - len(row))
            if len(row) < _BITMAP_PIXELS:
                raise FormatError(f"truncated: ends in bitmap {i + 1} of {shape[0]}", path)
            yield np.frombuffer(row, np.uint8)
        if rest or file.read(1):
            raise FormatError(f"bytes follow its {shape[0]} bitmaps", path)


def _grey(image: Any, max_pixels: int) -> NDArray[np.float32]:
    """A picture as greys float32 (H, W) from 0 to 255, made smaller where it is much larger than is looked at."""
    if isinstance(image, np.ndarray):
        return _of_array(image, max_pixels)
    from PIL import Image

    if isinstance(image, Image.Image):
        return _of_image(image, max_pixels)
    if isinstance(image, bytes | bytearray | memoryview):
        return _of_file(io.BytesIO(image), max_pixels)
    if not isinstance(image, str | os.PathLike):
        raise ArgumentTypeError(f"image should be a path, bytes, a Pillow image or an array, got {shown(image)}")
    path = expect_path(image, "image")
    try:
        with located(path), path.open("rb") as file:
            return _of_file(file, max_pixels)
    except OSError as error:
        raise FormatError(f"cannot be opened: {error.strerror}", path) from error


def _of_file(file: IO[bytes], max_pixels: int) -> NDArray[np.float32]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels, and of what is odd in a file
            with Image.open(file, formats=_FORMATS) as image:
                return _of_image(image, max_pixels)
    except Image.DecompressionBombError as error:
        raise FormatError(f"has too many pixels; expected at most {max_pixels:,}") from error
    except FormatError:
        raise
    except Exception as error:  # a damaged picture raises anything
        kind = "no PNG, JPEG or WebP picture" if isinstance(error, UnidentifiedImageError) else "damaged"
        raise FormatError(f"is {kind}, or truncated") from error


def _of_image(image: "Image", max_pixels: int) -> NDArray[np.float32]:
    from PIL import ImageOps

    width, height = image.size
    _check_size(width, height, max_pixels)
    image.draft("L", (2 * MOST_SIDE, 2 * MOST_SIDE))  # a JPEG is decompressed no larger than needed
    k = max(image.size) // (2 * MOST_SIDE)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float32)
        most = 65535 if values.max(initial=0) > 255 else 255
        return (values * (255 / most)).clip(0, 255)
    if k > 1 and image.mode not in ("P", "1"):
        image = image.reduce(k)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        return _of_array(np.asarray(image.convert("RGBA")), max_pixels)
    return np.asarray(image.convert("L"), np.float32)


def _of_array(image: NDArray[Any], max_pixels: int) -> NDArray[np.float32]:
    if image.shape == (_BITMAP_PIXELS,):
        image = image.reshape(BITMAP_SIDE, BITMAP_SIDE)
    is_float = image.dtype.kind == "f"
    if (image.dtype not in (np.uint8, np.bool_) and not is_float) or image.ndim not in (2, 3) or not image.size:
        raise FormatError(
            f"the picture is an array of {image.dtype} {image.shape}; expected uint8, or float from 0 to 1, (H, W), "
            "(H, W, 3), (H, W, 4) or (784,)"
        )
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        raise FormatError(f"the picture has {image.shape[2]} channels; expected 1, 3 or 4")
    _check_size(image.shape[1], image.shape[0], max_pixels)
    values = image.astype(np.float32) * (255 if is_float or image.dtype == np.bool_ else 1)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
        raise FormatError("the picture has a value outside 0 to 1; expected floats from 0 to 1, or uint8")
    if values.ndim == 2 or values.shape[2] == 1:
        return values.reshape(values.shape[:2])
    weights = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    grey: NDArray[np.float32] = np.asarray(values[..., :3] @ weights, np.float32)
    if values.shape[2] == 3:
        return grey
    opaque = values[..., 3] / 255
    if not opaque.any():
        return np.zeros_like(grey)
    # What is drawn is to be seen on what it is put on.
    behind = 255.0 if float((grey * opaque).sum() / opaque.sum()) < 128 else 0.0
    return np.asarray(grey * opaque + behind * (1 - opaque), np.float32)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise FormatError(f"has {width:,} x {height:,} pixels; expected at most {max_pixels:,}")
    if max(width, height) > _MOST_ASPECT * min(width, height):
        raise FormatError(
            f"has {width:,} x {height:,} pixels; expected sides that differ by {_MOST_ASPECT} times at most"
        )
