"""Configuration blocks of a results document: evaluated without running code, refused, or written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_documents import EPOCH, SIMPLE, fenced

from quickstroke.drawings.categories import CATEGORIES, CATEGORIES_2020
from quickstroke.errors import DocumentError
from quickstroke.reports.document_config import MAX_BLOCK_CHARACTERS, ClassSlice, format_config, parse_config

# --- configuration blocks


@pytest.mark.parametrize(
    ("code", "config"),
    [
        ("", {}),
        ("# nothing\n\n", {}),
        ("batch_size\t=\t256 # (1)", {"batch_size": 256}),
        ("learning_rate = 1e-3; n_epochs = 1_0", {"learning_rate": 0.001, "n_epochs": 10}),
        ("learning_rate = -1", {"learning_rate": -1}),
        ("conv1 = 128, 5", {"conv1": (128, 5)}),
        ("conv1 = [128, 5]\nconv2 = conv1", {"conv1": (128, 5), "conv2": (128, 5)}),
        ("conv1 = None\nconv2 = (1, 2)", {"conv1": None, "conv2": (1, 2)}),
        ("conv1 = (128, 5, 2)", {"conv1": (128, 5, 2)}),
        ("bidirectional = (True)", {"bidirectional": True}),
        (
            "N_train = 20000\nN_val = N_train // 5\nN_test = N_val",
            {"N_train": 20000, "N_val": 4000, "N_test": 4000},
        ),
        ("N = 10\nN = N * 2\nN_train = N + N - 1", {"N_train": 39}),
        ("size = 64\nhidden_size = size\nconv1 = (size, 5)", {"hidden_size": 64, "conv1": (64, 5)}),
        ("n_epochs = 1\nn_epochs = 2", {"n_epochs": 2}),
        ("n_epochs = 9223372036854775808", {"n_epochs": 2**63}),
        ("n_epochs = 0xff // -2", {"n_epochs": -128}),
        ("train_classes = classes", {"train_classes": ClassSlice()}),
        ("train_classes = classes[:10]", {"train_classes": ClassSlice(None, 10)}),
        (
            "k = 5\ntrain_classes = classes[k:-k*2:2]",
            {"train_classes": ClassSlice(5, -10, 2)},
        ),
        ("train_classes = ['cat', \"ice cream\"]", {"train_classes": ("cat", "ice cream")}),
    ],
)
def test_parse_config(code, config):
    assert parse_config(code) == config


REFUSED = [
    # statements
    ("import os", "expected `name = value`, not `import os`"),
    ("open('x')", "expected `name = value`, not `open('x')`"),
    ("'text'", "expected `name = value`"),
    ("n_epochs += 1", "expected `name = value`"),
    ("n_epochs: int = 1", "expected `name = value`"),
    ("n_epochs = N_val = 1", "expected `name = value`"),
    ("n_epochs, N_val = 1, 2", "expected `name = value`"),
    ("x.n_epochs = 1", "expected `name = value`"),
    ("x[0] = 1", "expected `name = value`"),
    ("def f(): pass", "expected `name = value`"),
    ("for i in (): pass", "expected `name = value`"),
    ("del n_epochs", "expected `name = value`"),
    ("classes = ['cat']", "`classes` stands for"),
    ("n_epochs = = 1", "invalid syntax, in `n_epochs = = 1`"),
    ("Results:", "invalid syntax"),
    (" n_epochs = 1", "unexpected indent"),
    ("n_epochs = (1", "never closed"),
    ("n_epochs = 'x", "unterminated string"),
    # expressions
    *(
        (f"n_epochs = {piece}", f"`{piece}` is not allowed in a configuration")
        for piece in (
            "print(1)",
            "__import__('os').system('true')",
            "a.b",
            "(1).real",
            "[i for i in (1, 2)]",
            "{i for i in (1, 2)}",
            "(i for i in (1, 2))",
            "{1: 2}",
            "{1, 2}",
            "f'{1}'",
            "lambda: 1",
            "1 if True else 2",
            "2 ** 3",
            "1 / 2",
            "5 % 2",
            "1 << 2",
            "1 | 2",
            "1 @ 2",
            "not 1",
            "~1",
            "+1",
            "-True",
            "-'x'",
            "1 < 2",
            "1 and 2",
            "1j",
            "b'x'",
            "...",
            "'a\\nb'",
            "'\\ud800'",
            "(1, 2)[0]",
            "'abc'[:]",
            "x[:]",
            "classes[0]",
            "classes[:, 1]",
            "classes[:][:]",
            "await x",
        )
    ),
    ("n_epochs = (x := 1)", "`x := 1` is not allowed"),
    ("n_epochs = (1, *(2, 3))", "`*(2, 3)` is not allowed"),
    ("n_epochs = 1 + print(2)", "`print(2)` is not allowed"),
    ("n_epochs = N_val", "`N_val` has no value yet"),
    ("n_epochs = 1 // 0", "division by zero in `1 // 0`"),
    ("n_epochs = 1 + 1.5", "expected an integer, not `1.5`"),
    ("n_epochs = 1 + True", "expected an integer, not `True`"),
    ("n_epochs = 'a' * 2", "expected an integer, not `'a'`"),
    ("train_classes = classes[:1] + classes[2:]", "expected an integer, not `classes[:1]`"),
    ("train_classes = classes[1.5:]", "expected an integer, not `1.5`"),
    ("train_classes = classes[::0]", "step 0"),
    ("n_epochs = 9223372036854775809", "beyond 2**63"),
    ("n_epochs = 9223372036854775807 * 2", "beyond 2**63"),
    ("n_epochs = 0x" + "f" * 9999, "beyond 2**63"),
    ("n_epochs = " + "9" * 9999, "integer"),
    ("learning_rate = 1e999", "not finite"),
    ("conv1 = ((1, 2), 3)", "inside a list, not `(1, 2)`"),
    ("train_classes = [classes[:]]", "inside a list, not `classes[:]`"),
    # keys and their types
    ("batchsize = 256", "unknown key `batchsize`, the closest known one is batch_size"),
    ("n_train = 256", "unknown key `n_train`, the closest known one is N_train"),
    ("n_epochs = 1\nN = n_epochs", "unknown key `N`"),
    ("batch_size = 'x'", "batch_size must be an integer, not `'x'`"),
    ("batch_size = True", "batch_size must be an integer, not `True`"),
    ("batch_size = 1.0", "batch_size must be an integer"),
    ("batch_size = None", "batch_size must be an integer"),
    ("learning_rate = False", "learning_rate must be a number"),
    ("bidirectional = 1", "bidirectional must be True or False, not `1`"),
    ("conv1 = (128,)", "conv1 must be None, (n_filters, filter_size) or (n_filters, filter_size, stride), not `(128,"),
    ("conv1 = 128", "conv1 must be None, (n"),
    ("conv1 = False", "conv1 must be None, (n"),
    ("conv2 = (128, True)", "conv2 must be None, (n"),
    ("conv2 = (128, 5, 1, 1)", "conv2 must be None, (n"),
    ("train_classes = 'cat'", "train_classes must be classes[:], a slice of classes or a list of words"),
    ("train_classes = []", "train_classes must be"),
    ("train_classes = ['cat', 1]", "train_classes must be"),
    ("train_classes = None", "train_classes must be"),
]


@pytest.mark.parametrize(("code", "reason"), REFUSED, ids=[code[:40] for code, _ in REFUSED])
def test_refused(read, code, reason):
    above = f"# A\n\n{fenced(SIMPLE)}{fenced(EPOCH)}\n## B\n\n```python\n# run 2\nmax_padding = 100\n"
    line = above.count("\n") + 1 + code.count("\n")
    with pytest.raises(DocumentError) as error:
        read(f"{above}{code}\n\nbidirectional = False\n```\n")
    message = str(error.value)
    assert f"results.md, line {line}: " in message
    assert reason in message
    assert len(message) < 500
    assert message.isprintable()


def test_the_line_is_that_of_the_piece(read):
    with pytest.raises(DocumentError, match=r"results\.md, line 5: `print\(1\)` is not allowed"):
        read(fenced("# a\nconv1 = (\n    1,\n    print(1),\n)", "python"))


def test_a_refused_block_without_tag(read):
    with pytest.raises(DocumentError, match=r"line 3: `f\(\)` is not allowed"):
        read(fenced("n_layers = 1\nn_epochs = f()"))


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 30000,
        "(" * 150 + "1" + ")" * 150 + "[" * 30000,
        "[" * 90 + "]" * 90,
        "-" * 30000 + "1",
        "1" + "+1" * 30000,
        "1" + " if 1 else 1" * 5000,
        "not " * 15000 + "1",
        "x" + ".a" * 30000,
        "x" + "()" * 30000,
        "lambda: " * 8000 + "1",
        "'" + "a" * 60000 + "'",
        "a" * 60000,
        "1" * 60000,
        "\\" * 60000,
        "(1, " * 95 + ")" * 95,
    ],
    ids=lambda expression: expression[:8],
)
def test_hostile_expressions(read, expression):
    with pytest.raises(DocumentError, match=r"results\.md, line 2: ") as error:
        read(fenced(f"n_epochs = {expression}", "python"))
    assert len(str(error.value)) < 500


def test_a_block_has_a_largest_size(read):
    comment = "#" * MAX_BLOCK_CHARACTERS
    with pytest.raises(DocumentError, match=r"line 2: a configuration block of 65537 characters"):
        read(fenced(f"n_epochs = 1{comment[11:]}", "python"))
    with pytest.raises(DocumentError, match="no results in it"):
        read(fenced(f"n_epochs = 1\n{comment}"))


@pytest.mark.filterwarnings("error")
def test_doubtful_literals_do_not_warn():
    assert parse_config(r"train_classes = ['\d']") == {"train_classes": (r"\d",)}


# --- classes


@given(
    st.lists(st.sampled_from(CATEGORIES), unique=True),
    *[st.none() | st.integers(-20, 20)] * 2,
    st.sampled_from([None, 1, 2, -1]),
)
def test_class_slices_are_pythons(classes, start, stop, step):
    chosen = ClassSlice(start, stop, step)
    assert chosen.of(classes) == tuple(classes[start:stop:step])
    assert parse_config(f"train_classes = {chosen}") == {"train_classes": chosen}


# --- writing


def test_format_config_has_the_documents_layout():
    values = {
        "n_epochs": 10,
        "batch_size": 256,
        "learning_rate": 0.001,
        "hidden_size": 64,
        "n_layers": 1,
        "train_classes": ClassSlice(),
        "conv1": (128, 5),
        "conv2": None,
        "bidirectional": False,
        "N_train": 20000,
        "N_val": 4000,
        "N_test": 4000,
        "N_test_reserved": 20000,
        "max_padding": 100,
    }
    assert format_config(values) == (
        "batch_size = 256\n"
        "learning_rate = 0.001\n"
        "\n"
        "hidden_size = 64\n"
        "n_layers = 1\n"
        "train_classes = classes[:]\n"
        "\n"
        "# A convolution is (n_filters, filter_size), or None to go without it;\n"
        "# where conv1 is None there is no conv2 either, whatever it says here\n"
        "conv1 = (128, 5)\n"
        "conv2 = None\n"
        "bidirectional = False\n"
        "\n"
        "N_train = 20000\n"
        "N_val = N_train // 5\n"
        "N_test = N_val\n"
        "N_test_reserved = 20000\n"
        "max_padding = 100\n"
        "n_epochs = 10"
    )


def test_format_config_writes_what_it_has():
    assert format_config({}) == ""
    assert format_config({"N_test": 5, "N_val": 3, "N_train": 20}) == "N_train = 20\nN_val = 3\nN_test = 5"
    assert format_config({"train_classes": ["cat", "ice cream"]}) == "train_classes = ['cat', 'ice cream']"


def test_many_classes_are_wrapped():
    values = {"train_classes": CATEGORIES_2020}
    code = format_config(values)
    assert max(map(len, code.split("\n"))) <= 110
    assert code.count("\n") < 20
    assert parse_config(code) == values


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"N_tain": 1}, "unknown key `N_tain`, the closest known one is N_train"),
        ({"batch_size": "x"}, "batch_size must be an integer, not `'x'`"),
        ({"batch_size": 2**64}, "batch_size must be an integer"),
        ({"learning_rate": math.nan}, "learning_rate must be a number, not `nan`"),
        ({"train_classes": ["a\nb"]}, "train_classes must be"),
        ({"train_classes": ClassSlice(step=0)}, "train_classes must be"),
    ],
)
def test_format_config_refuses_what_cannot_be_read_again(values, reason):
    with pytest.raises(DocumentError) as error:
        format_config(values)
    assert reason in str(error.value)


integers = st.integers(-(2**63), 2**63)
floats = st.floats(allow_nan=False, allow_infinity=False)
convolutions = st.none() | st.tuples(integers, integers)
bounds = st.none() | integers
class_slices = st.builds(ClassSlice, bounds, bounds, bounds.filter(lambda step: step != 0))
words = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "))  # what str.isprintable says
configs = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": integers,
        "learning_rate": floats | integers,
        "hidden_size": integers,
        "n_layers": integers,
        "train_classes": class_slices | st.lists(words, min_size=1).map(tuple),
        "conv1": convolutions,
        "conv2": convolutions,
        "bidirectional": st.booleans(),
        "readout": st.sampled_from(["last", "pool"]),
        "N_train": st.integers(0, 100),
        "N_val": st.integers(0, 20),
        "N_test": st.integers(0, 20),
        "N_test_reserved": integers,
        "max_padding": integers,
        "n_epochs": integers,
    },
)


@given(configs)
def test_configs_round_trip(config):
    assert parse_config(format_config(config)) == config


@given(st.text() | st.text(alphabet="n_epochs=classes[:]0-+*/(),'\"\n#"))
def test_any_block_is_evaluated_or_refused(code):
    try:
        config = parse_config(code)
    except DocumentError as error:
        assert "configuration, line " in str(error)
    else:
        assert parse_config(format_config(config)) == config
