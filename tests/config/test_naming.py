"""Model names: the published ones, every one that can be, and what is said of the others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstroke.config.naming import (
    FORM,
    MAX_IMAGE,
    MAX_LAYERS,
    MAX_SIZE,
    MAX_STRIDE,
    Convolution,
    Shape,
    format_name,
    parse_name,
)
from quickstroke.errors import ModelNameError

# Every name in the results and the published files of the 2020 project.
PUBLISHED = {
    "simple_lay1_sz64": Shape(False, None, None, 1, 64),
    "simple_lay1_sz256": Shape(False, None, None, 1, 256),
    "simple_lay2_sz64": Shape(False, None, None, 2, 64),
    "simple_lay2_sz128": Shape(False, None, None, 2, 128),
    "simple_lay2_sz256": Shape(False, None, None, 2, 256),
    "bilstm_lay1_sz64": Shape(True, None, None, 1, 64),
    "bilstm_lay1_sz256": Shape(True, None, None, 1, 256),
    "bilstm_lay2_sz64": Shape(True, None, None, 2, 64),
    "bilstm_lay2_sz256": Shape(True, None, None, 2, 256),
    "lstm_cv1_128_5_lay1_sz64": Shape(False, (128, 5), None, 1, 64),
    "lstm_cv1_128_5_lay1_sz256": Shape(False, (128, 5), None, 1, 256),
    "lstm_cv1_128_5_lay2_sz128": Shape(False, (128, 5), None, 2, 128),
    "bilstm_cv1_256_5_lay2_sz256": Shape(True, (256, 5), None, 2, 256),
    "bilstm_cv1_128_3_lay2_sz256": Shape(True, (128, 3), None, 2, 256),
    "bilstm_cv1_256_5_cv2_256_3_lay2_sz256": Shape(True, (256, 5), (256, 3), 2, 256),
    "lstm_cv1_64_3_cv2_32_7_lay3_sz32": Shape(False, (64, 3), (32, 7), 3, 32),
}

# Names that are not that project's.
POOLED = {
    "bipool_lay1_sz64": Shape(True, None, None, 1, 64, "pool"),
    "bipool_cv1_64_5_lay2_sz128": Shape(True, (64, 5), None, 2, 128, "pool"),
    "bipool_cv1_64_5_cv2_128_5_2_lay2_sz128": Shape(True, (64, 5), (128, 5, 2), 2, 128, "pool"),
    "bipool_cv1_64_5_3_cv2_128_5_lay2_sz128": Shape(True, (64, 5, 3), (128, 5), 2, 128, "pool"),
    "bipool_img16_lay1_sz64": Shape(True, None, None, 1, 64, "pool", 16),
    "bipool_cv1_64_5_cv2_128_5_2_img32_lay2_sz128": Shape(True, (64, 5), (128, 5, 2), 2, 128, "pool", 32),
}

sizes = st.integers(1, MAX_SIZE)
convolutions = st.none() | st.tuples(sizes, sizes)
strided = convolutions | st.tuples(sizes, sizes, st.integers(2, MAX_STRIDE))


@pytest.mark.parametrize(("name", "shape"), (PUBLISHED | POOLED).items())
def test_known_name_and_its_shape(name: str, shape: Shape) -> None:
    assert parse_name(name) == shape
    assert format_name(shape) == name


@given(st.booleans(), convolutions, convolutions, st.integers(1, MAX_LAYERS), sizes)
def test_every_shape_has_one_name(
    bidirectional: bool, conv1: tuple[int, int] | None, conv2: tuple[int, int] | None, n_layers: int, hidden_size: int
) -> None:
    shape = Shape(bidirectional, conv1, conv2 if conv1 else None, n_layers, hidden_size)
    assert parse_name(format_name(shape)) == shape


@given(strided, strided, st.integers(1, MAX_LAYERS), sizes, st.none() | st.integers(1, MAX_IMAGE))
def test_every_pooled_shape_has_one_name(
    conv1: Convolution | None, conv2: Convolution | None, n_layers: int, hidden_size: int, image: int | None
) -> None:
    shape = Shape(True, conv1, conv2 if conv1 else None, n_layers, hidden_size, "pool", image)
    assert parse_name(format_name(shape)) == shape


@given(
    st.from_regex(
        r"[a-z]{0,3}(simple|lstm|bilstm|bipool)(_cv[12]_?\d{0,3}_?\d{0,2}(_\d{0,2})?){0,3}(_img\d{0,4})?_?(lay\d{0,3})?_?(sz-?\d{0,6})?.?",
        fullmatch=True,
    )
)
def test_any_text_is_refused_or_the_name_of_what_it_says(name: str) -> None:
    try:
        shape = parse_name(name)
    except ModelNameError as error:
        assert FORM in str(error)
    else:
        assert format_name(shape) == name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "type '' should be one of simple, lstm, bilstm, bipool"),
        ("gru_lay1_sz64", "type 'gru'"),
        ("Simple_lay1_sz64", "type 'Simple'"),
        (" simple_lay1_sz64", "type ' simple'"),
        ("simple-lay1-sz64", "type 'simple-lay1-sz64'"),
        ("lstm/simple_lay1_sz64", "type 'lstm/simple'"),
        ("simple_lay1_sz64.model", "'.model' belongs to the file"),
        ("simple", "'' stands where 'lay<number>' is expected"),
        ("simple_sz64", "'sz64' stands where 'lay<number>' is expected"),
        ("simple_sz64_lay1", "'sz64' stands where 'lay<number>' is expected"),
        ("simple__lay1_sz64", "'' stands where 'lay<number>' is expected"),
        ("simple_lay1", "'' stands where 'sz<number>' is expected"),
        ("simple_lay1_64", "'64' stands where 'sz<number>' is expected"),
        ("simple_lay1_sz64_", "'' stands after the end of the name"),
        ("simple_lay1_sz64_cv1_5_3", "'cv1_5_3' stands after the end"),
        ("simple_lay_sz64", "number after 'lay' should be a whole number from 1 to 64, got ''"),
        ("simple_lay0_sz64", "number after 'lay' should be a whole number from 1 to 64, got '0'"),
        ("simple_lay65_sz64", "got '65'"),
        ("simple_lay01_sz64", "got '01'"),
        ("simple_lay-1_sz64", "got '-1'"),
        ("simple_lay+1_sz64", "got '+1'"),
        ("simple_lay1.0_sz64", "got '1.0'"),
        ("simple_lay٣_sz64", "got '٣'"),
        ("simple_lay1_sz64\n", "number after 'sz' should be a whole number from 1 to 65536, got '64\\n'"),
        ("simple_lay1_sz65537", "got '65537'"),
        ("simple_lay1_sz" + "9" * 5000, "number after 'sz'"),
        ("lstm_lay1_sz64", "type 'lstm' needs a convolution ('cv1'): without one the type is 'simple'"),
        ("simple_cv1_128_5_lay1_sz64", "type 'simple' has no convolution"),
        ("lstm_cv2_128_5_lay1_sz64", "'cv2' needs 'cv1' before it"),
        ("bilstm_cv2_128_5_cv1_128_5_lay1_sz64", "'cv1' stands where 'lay<number>' is expected"),
        ("lstm_cv1_128_5_cv1_128_5_lay1_sz64", "'cv1' stands where 'lay<number>' is expected"),
        ("lstm_cv3_128_5_lay1_sz64", "'cv3' stands where 'lay<number>' is expected"),
        ("lstm_cv1_lay1_sz64", "number of filters after 'cv1' should be a whole number from 1 to 65536, got 'lay1'"),
        ("lstm_cv1_128_lay1_sz64", "filter size after 'cv1' should be a whole number from 1 to 65536, got 'lay1'"),
        ("lstm_cv1", "number of filters after 'cv1'"),
        ("lstm_cv1_0_5_lay1_sz64", "number of filters after 'cv1'"),
        ("bilstm_cv1_64_5_cv2_64_0_lay1_sz64", "filter size after 'cv2'"),
        ("bilstm_cv1_64_5_2_lay1_sz64", "'2' stands where 'lay<number>' is expected"),
        ("bipool_cv1_64_5_1_lay1_sz64", "the stride 1 after 'cv1' is left out of a name"),
        ("bipool_cv1_64_5_cv2_64_5_0_lay1_sz64", "stride after 'cv2' should be a whole number from 1 to 64, got '0'"),
        ("bipool_cv1_64_5_65_lay1_sz64", "stride after 'cv1' should be a whole number from 1 to 64, got '65'"),
        ("bipool_cv1_64_5_2_2_lay1_sz64", "'2' stands where 'lay<number>' is expected"),
        ("bipool_cv2_64_5_lay1_sz64", "'cv2' needs 'cv1' before it"),
        ("bilstm_img16_lay1_sz64", "type 'bilstm' looks at no image ('img'): only type 'bipool' does"),
        ("bipool_img_lay1_sz64", "the number after 'img' should be a whole number from 1 to 1024, got ''"),
        ("bipool_img1025_lay1_sz64", "the number after 'img' should be a whole number from 1 to 1024, got '1025'"),
        ("bipool_img16_cv1_64_5_lay1_sz64", "'cv1' stands where 'lay<number>' is expected"),
    ],
)
def test_malformed_name_is_refused_with_the_part_that_is_wrong(name: str, part: str) -> None:
    with pytest.raises(ModelNameError, match=re.escape(part)) as caught:
        parse_name(name)
    assert str(caught.value).endswith(f"; expected {FORM}")
    assert len(str(caught.value)) < 500
