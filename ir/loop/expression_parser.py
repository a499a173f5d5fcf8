"""Tokens and expressions of loop IR's text: what a line of it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from smelt.ir import dim as dims
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import ParseError
from smelt.ir.loop.grammar import Buffer
from smelt.ir.loop.printer import BITWISE, INFIX, NOT_STRENGTH, UNARY_STRENGTH
from smelt.ir.scalar import Apply, Const, Expr, Load, Var
from smelt.ir.types import Shape

T = TypeVar("T")

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+|\d+|inf\b|nan\b|inf(?=_)|nan(?=_))
          (?:_[a-z]+\d+)?)
    | (?P<combine>(?:max|min|and|or)=(?!=))
    | (?P<word>[A-Za-z_%][\w.%]*)
    | (?P<symbol>//|<<|>>|<=|>=|==|!=|\+=|\*=|[-+*/%&|^~<>=()\[\],:])
    )""",
    re.VERBOSE,
)
_INT_SYMBOLS = {symbol: (op, strength) for op, (symbol, strength) in INFIX.items()}
_BIT_SYMBOLS = {symbol: (op, strength) for op, (symbol, strength) in BITWISE.items()}
_BINARY = {**_INT_SYMBOLS, **_BIT_SYMBOLS}


@dataclass(frozen=True)
class Names:
    """What the names in an expression stand for."""

    buffers: Mapping[str, Buffer]
    variables: Mapping[str, Var]

    def with_variable(self, var: Var) -> Names:
        """Return the names with one more variable."""
        return replace(self, variables={**self.variables, var.name: var})

    def with_buffer(self, buffer: Buffer) -> Names:
        """Return the names with one more buffer."""
        return replace(self, buffers={**self.buffers, buffer.name: buffer})


class Line:
    """A line of text as tokens, read from left to right.

    Attributes:
        number: line number, from 1.
        indent: number of spaces before the first token.
        comment: what follows `# `, None where there is no comment.
        is_comment: whether there is nothing but a comment.
    """

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.indent = len(text) - len(text.lstrip(" "))
        code, mark, comment = text.partition("#")
        self.comment = comment.removeprefix(" ") if mark else None
        self.is_comment = bool(mark) and not code.strip()
        self.tokens: list[tuple[str, str, int]] = []
        self.position = 0
        self.length = len(code.rstrip())
        start = 0
        while start < self.length:
            match = _TOKEN.match(code, start)
            if match is None:
                column = start + 1 + len(code[start:]) - len(code[start:].lstrip())
                raise ParseError(f"unexpected character {code[column - 1]!r}", number, column)
            kind = match.lastgroup
            assert kind is not None, "each alternative has a name"
            self.tokens.append((kind, match.group(kind), match.start(kind) + 1))
            start = match.end()

    def error(self, message: str) -> ParseError:
        """Return an error at the next token."""
        if self.position < len(self.tokens):
            _, text, column = self.tokens[self.position]
            return ParseError(f"{message}, found {text!r}", self.number, column)
        return ParseError(message, self.number, self.length + 1)

    def peek(self) -> tuple[str, str]:
        """Return kind and text of the next token; two empty strings at the end."""
        return self.tokens[self.position][:2] if self.position < len(self.tokens) else ("", "")

    def at(self, text: str) -> bool:
        """Tell whether the next token is `text`."""
        return self.peek()[1] == text

    def accept(self, text: str) -> bool:
        """Take the next token if it is `text`."""
        found = self.at(text)
        self.position += found
        return found

    def is_element(self) -> bool:
        """Tell whether an element of a buffer comes next, whatever the buffer is called."""
        following = self.tokens[self.position + 1 : self.position + 2]
        return bool(following) and following[0][1] == "["

    def take(self, text: str) -> None:
        """Take `text`, which must come next."""
        if not self.accept(text):
            raise self.error(f"expected {text!r}")

    def word(self, expected: str) -> str:
        """Take the next token, whatever letters and digits it is made of."""
        kind, text = self.peek()
        if kind not in ("word", "number"):
            raise self.error(f"expected {expected}")
        self.position += 1
        # A digest may begin with digits: the tokens of one word follow without a space.
        while self.position < len(self.tokens):
            kind, more, column = self.tokens[self.position]
            _, before, start = self.tokens[self.position - 1]
            if kind not in ("word", "number") or start + len(before) != column:
                break
            text += more
            self.position += 1
        return text

    def name(self, expected: str) -> str:
        """Take a name."""
        kind, text = self.peek()
        if kind != "word":
            raise self.error(f"expected {expected}")
        self.position += 1
        return text

    def dtype(self) -> DType:
        """Take the name of a dtype."""
        name = self.peek()[1]
        if name not in _DTYPES:
            raise self.error("expected a dtype")
        self.position += 1
        return _DTYPES[name]

    def plain_number(self) -> scalar.Scalar:
        """Take a number without a type, or True or False."""
        kind, text = self.peek()
        if text in ("True", "False"):
            self.position += 1
            return text == "True"
        if kind != "number" or "_" in text:
            raise self.error("expected a number")
        self.position += 1
        return int(text) if text.isdigit() else float(text)

    def separated(self, item: Callable[[], T], end: str) -> list[T]:
        """Take items between commas up to `end`."""
        found: list[T] = []
        while not self.accept(end):
            if found:
                self.take(",")
            found.append(item())
        return found

    def end(self) -> None:
        """Raise unless the line ends here."""
        if self.position < len(self.tokens):
            raise self.error("expected the end of the line")


_DTYPES = {d.name: d for d in dtypes.ALL}


def shape(line: Line) -> Shape:
    """Take `[dimension, …]`."""
    line.take("[")
    return tuple(line.separated(lambda: dimension(line), "]"))


def dimension(line: Line) -> int | Dim:
    """Take a dimension: integer arithmetic over names of sizes."""
    return _dimension(line, expression(line, None))


def _dimension(line: Line, expr: Expr) -> int | Dim:
    match expr:
        case Const(value, dtype) if dtype is dtypes.int64:
            return int(value)
        case Var(name, _):
            return dims.symbol(name)
        case Apply("add", (a, b), _):
            return _dimension(line, a) + _dimension(line, b)
        case Apply("sub", (a, b), _):
            return _dimension(line, a) - _dimension(line, b)
        case Apply("mul", (a, b), _):
            return _dimension(line, a) * _dimension(line, b)
        case Apply("floordiv", (a, b), _):
            return _dimension(line, a) // _dimension(line, b)
        case Apply("mod", (a, b), _):
            return _dimension(line, a) % _dimension(line, b)
        case Apply("neg", (a,), _):
            return -_dimension(line, a)
        case _:
            raise line.error("expected a dimension")


def expression(line: Line, names: Names | None, strength: int = 0) -> Expr:
    """Take an expression whose operators bind at least as strongly as `strength`.

    Args:
        line: where to read.
        names: what names stand for; None: every name is a size, of type i64.
        strength: as in `printer.INFIX`.
    """
    left = _operand(line, names)
    while True:
        _, text = line.peek()
        if text == "if" and strength <= 0:
            line.accept("if")
            condition = expression(line, names, 1)
            line.take("else")
            left = _apply(line, "select", condition, left, expression(line, names, 1))
            continue
        found = _BINARY.get(text)
        if found is None or found[1] < strength:
            return left
        line.accept(text)
        left = _apply(line, found[0], left, expression(line, names, found[1] + 1))


def _apply(line: Line, op: str, *args: Expr, dtype: DType | None = None) -> Expr:
    try:
        return scalar.apply(op, *args, dtype=dtype)
    except AssertionError as error:
        raise line.error(str(error)) from error


def _operand(line: Line, names: Names | None) -> Expr:
    kind, text = line.peek()
    if line.accept("("):
        inner = expression(line, names)
        line.take(")")
        return inner
    if line.accept("-"):
        if line.peek()[0] == "number":
            return _literal(line, negative=True)
        return _apply(line, "neg", expression(line, names, UNARY_STRENGTH))
    if line.accept("~"):
        return _apply(line, "not", expression(line, names, UNARY_STRENGTH))
    if line.accept("not"):
        return _apply(line, "not", expression(line, names, NOT_STRENGTH))
    if kind == "number":
        return _literal(line, negative=False)
    if kind != "word":
        raise line.error("expected an expression")
    if text in ("True", "False"):
        line.accept(text)
        return scalar.TRUE if text == "True" else scalar.FALSE
    return _named(line, names)


def _named(line: Line, names: Names | None) -> Expr:
    """Take what begins with a name: a variable, an element, an operation, a conversion."""
    begin = line.position
    name = line.name("a name")
    if names is None:
        return Var(name)
    if not line.at("(") and name in names.variables:
        return names.variables[name]
    if name in names.buffers and line.accept("["):
        index = line.separated(lambda: expression(line, names), "]")
        return Load(names.buffers[name], tuple(index))
    if name == "bitcast" and line.accept("["):
        dtype = line.dtype()
        line.take("]")
        return _apply(line, name, *_arguments(line, names), dtype=dtype)
    if line.at("(") and name in _DTYPES:
        return _apply(line, "cast", *_arguments(line, names), dtype=_DTYPES[name])
    if line.at("(") and name in scalar.SCALAR_OPS:
        return _apply(line, name, *_arguments(line, names))
    line.position = begin
    raise line.error("expected a variable, a buffer or an operation")


def _arguments(line: Line, names: Names) -> list[Expr]:
    line.take("(")
    return line.separated(lambda: expression(line, names), ")")


def _literal(line: Line, negative: bool) -> Const:
    _, text = line.peek()
    digits, mark, suffix = text.partition("_")
    plain = dtypes.int64 if digits.isdigit() else dtypes.float32
    dtype = _DTYPES.get(suffix) if mark else plain
    if dtype is None:
        raise line.error(f"{suffix} is no dtype")
    if dtype.kind is not Kind.FLOAT and not digits.isdigit():
        raise line.error(f"{digits} is no value of {dtype.name}")
    line.position += 1
    value: scalar.Scalar = float(digits) if dtype.kind is Kind.FLOAT else int(digits)
    return Const(-value if negative else value, dtype)
