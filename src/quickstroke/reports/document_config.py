"""Configuration blocks of results documents.

A block looks like Python and is read through its syntax tree: it assigns literals and a little integer arithmetic to
known keys. Nothing in it is ever run.
"""

import ast
import difflib
import math
import operator
import pprint
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from quickstroke.config.naming import Readout
from quickstroke.drawings.categories import unprintable
from quickstroke.errors import DocumentError

MAX_BLOCK_CHARACTERS = 2**16
MAX_INTEGER = 2**63
Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClassSlice:
    """The dataset's classes, or a slice of them: what `classes[start:stop:step]` means in a document."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        start, stop, step = ("" if part is None else str(part) for part in (self.start, self.stop, self.step))
        return f"classes[{start}:{stop}{':' if step else ''}{step}]"

    def of(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The classes that the slice selects."""
        return tuple(classes[self.start : self.stop : self.step])


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_class_selection(value: object) -> bool:
    if isinstance(value, tuple | list):
        return len(value) > 0 and all(isinstance(word, str) and not unprintable(word) for word in value)
    return isinstance(value, ClassSlice) and value.step != 0


def _is_convolution(value: object) -> bool:
    return value is None or (isinstance(value, tuple | list) and len(value) in (2, 3) and all(map(_is_integer, value)))


_INTEGER = ("an integer", _is_integer)
_CONVOLUTION = ("None, (n_filters, filter_size) or (n_filters, filter_size, stride)", _is_convolution)
# The keys of the 2020 project's document in its order, one group for each of its paragraphs: what each expects.
_GROUPS: tuple[dict[str, tuple[str, Callable[[object], bool]]], ...] = (
    {"batch_size": _INTEGER, "learning_rate": ("a number", _is_number)},
    {
        "hidden_size": _INTEGER,
        "n_layers": _INTEGER,
        "train_classes": ("classes[:], a slice of classes or a list of words", _is_class_selection),
    },
    {
        "conv1": _CONVOLUTION,
        "conv2": _CONVOLUTION,
        "bidirectional": ("True or False", lambda value: isinstance(value, bool)),
        "readout": (" or ".join(map(repr, get_args(Readout))), lambda value: value in get_args(Readout)),
        "image": ("None or an integer above 0", lambda value: value is None or (_is_integer(value) and value != 0)),
    },
    {
        "N_train": _INTEGER,
        "N_val": _INTEGER,
        "N_test": _INTEGER,
        "N_test_reserved": _INTEGER,
        "max_padding": _INTEGER,
        "n_epochs": _INTEGER,
    },
)
KEYS = {key: expected for group in _GROUPS for key, expected in group.items()}
# What the model is, and its words; all others are options of the training.
MODEL_KEYS = _GROUPS[1].keys() | _GROUPS[2].keys()

_CONVOLUTION_REMARK = (
    "# A convolution is (n_filters, filter_size), or None to go without it;\n"
    "# where conv1 is None there is no conv2 either, whatever it says here"
)


def parse_config(code: str, where: str = "configuration", first_line: int = 1) -> Config:
    """Evaluates a configuration block.

    Args:
        code: lines `name = expression`, and comments. An expression is a literal, a tuple or list of
            literals, an earlier name, `-`, `+`, `*` or `//` of integers, or a slice of `classes`. A name that
            is no known key may hold a value for a later line.
        where: the file, for messages.
        first_line: the line of the file at which `code` begins.

    Returns:
        The known keys that the block assigns, in its spelling; lists become tuples, `classes[...]` becomes
        a `ClassSlice`.

    Raises:
        DocumentError: anything else; the message has the file, the line and the piece.
    """
    if len(code) > MAX_BLOCK_CHARACTERS:
        raise DocumentError(
            f"{where}, line {first_line}: a configuration block of {len(code)} characters, "
            f"expected at most {MAX_BLOCK_CHARACTERS}"
        )
    try:
        return _Evaluator(code, where, first_line).run(syntax_tree(code))
    except SyntaxError as error:
        line = first_line + (error.lineno or 1) - 1
        piece = _excerpt(error.text or "")
        raise DocumentError(f"{where}, line {line}: {error.msg}, in `{piece}`") from error
    except (RecursionError, MemoryError) as error:
        raise DocumentError(f"{where}, line {first_line}: a configuration nested too deeply") from error


def format_config(values: Mapping[str, Any]) -> str:
    """Text of a configuration block, without fences, in the order and spelling of the 2020 project's document.

    Raises:
        DocumentError: an unknown key or a value of the wrong type.
    """
    for key, value in values.items():
        if key not in KEYS:
            raise DocumentError(_unknown_key(key))
        expected, fits = KEYS[key]
        if not fits(value):
            raise DocumentError(f"{key} must be {expected}, not `{_excerpt(repr(value))}`")
    paragraphs = []
    for group in _GROUPS:
        lines = [f"{key} = {_format_value(key, values)}" for key in group if key in values]
        if "conv1" in group and lines:
            lines.insert(0, _CONVOLUTION_REMARK)
        if lines:
            paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _format_value(key: str, values: Mapping[str, Any]) -> str:
    value = values[key]
    if key == "N_val" and "N_train" in values and value == values["N_train"] // 5:
        return "N_train // 5"
    if key == "N_test" and values.get("N_val") == value:
        return "N_val"
    if key == "train_classes" and not isinstance(value, ClassSlice):
        return pprint.pformat(list(value), width=100, compact=True)
    if isinstance(value, tuple | list):
        return repr(tuple(value))
    return repr(value) if isinstance(value, str) else str(value)


def syntax_tree(code: str) -> ast.Module:
    with warnings.catch_warnings():
        # Python warns of doubtful literals, such as "\d", on the user's terminal.
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _excerpt(text: str) -> str:
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line if len(line) <= 60 else line[:57] + "..."


def _unknown_key(name: str) -> str:
    by_folded = {key.casefold(): key for key in KEYS}
    closest = difflib.get_close_matches(name[:60].casefold(), by_folded, n=1, cutoff=0.0)[0]
    return f"unknown key `{_excerpt(name)}`, the closest known one is {by_folded[closest]}"


_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


class _Evaluator:
    def __init__(self, code: str, where: str, first_line: int) -> None:
        self.code, self.where, self.first_line = code, where, first_line
        self.values: dict[str, Any] = {}
        self.unread: dict[str, ast.stmt] = {}

    def refusal(self, node: ast.stmt | ast.expr, reason: str) -> DocumentError:
        return DocumentError(f"{self.where}, line {self.first_line + node.lineno - 1}: {reason}")

    def piece(self, node: ast.stmt | ast.expr) -> str:
        return _excerpt(ast.get_source_segment(self.code, node) or "")

    def run(self, tree: ast.Module) -> Config:
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="classes")]):
                    raise self.refusal(statement, "`classes` stands for the dataset's classes and cannot be assigned")
                case ast.Assign(targets=[ast.Name(id=name)], value=expression):
                    self.values[name] = self.evaluate(expression)
                    expected, fits = KEYS.get(name, ("", None))
                    if fits is None:
                        self.unread[name] = statement
                    elif not fits(self.values[name]):
                        piece = self.piece(expression)
                        raise self.refusal(statement, f"{name} must be {expected}, not `{piece}`")
                case _:
                    raise self.refusal(statement, f"expected `name = value`, not `{self.piece(statement)}`")
        for name, statement in self.unread.items():
            raise self.refusal(statement, _unknown_key(name))
        return {name: value for name, value in self.values.items() if name in KEYS}

    def evaluate(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None | bool()):
                return node.value
            case ast.Constant(value=int() | float() as number):
                return self.bounded(node, number)
            case ast.Constant(value=str() as text) if not unprintable(text):
                return text
            case ast.Name(id="classes"):
                return ClassSlice()
            case ast.Name(id=name):
                if name not in self.values:
                    raise self.refusal(node, f"`{_excerpt(name)}` has no value yet")
                self.unread.pop(name, None)
                return self.values[name]
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return tuple(self.element(element) for element in elements)
            case ast.UnaryOp(op=ast.USub(), operand=operand) if _is_number(number := self.evaluate(operand)):
                return -number
            case ast.BinOp(op=op) if type(op) in _OPERATIONS:
                left, right = self.integer(node.left), self.integer(node.right)
                if right == 0 and isinstance(op, ast.FloorDiv):
                    raise self.refusal(node, f"division by zero in `{self.piece(node)}`")
                return self.bounded(node, _OPERATIONS[type(op)](left, right))
            case ast.Subscript(value=ast.Name(id="classes"), slice=ast.Slice(lower, upper, step)):
                bounds = [None if part is None else self.integer(part) for part in (lower, upper, step)]
                if bounds[2] == 0:
                    raise self.refusal(node, f"a slice cannot have step 0: `{self.piece(node)}`")
                return ClassSlice(*bounds)
        raise self.refusal(
            node,
            f"`{self.piece(node)}` is not allowed in a configuration, expected literals, earlier names, "
            "+ - * // of integers and slices of classes",
        )

    def integer(self, node: ast.expr) -> int:
        value = self.evaluate(node)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refusal(node, f"expected an integer, not `{self.piece(node)}`")
        return value

    def element(self, node: ast.expr) -> Any:
        # Tuples of tuples through earlier names could grow exponentially.
        value = self.evaluate(node)
        if isinstance(value, tuple | ClassSlice):
            raise self.refusal(node, f"expected a number or a word inside a list, not `{self.piece(node)}`")
        return value

    def bounded(self, node: ast.expr, number: float) -> float:
        if not _is_number(number):
            raise self.refusal(node, f"a number beyond 2**63 or not finite: `{self.piece(node)}`")
        return number
