"""Read loop IR from the text that `printer` writes; people may edit it in between.

    parse_program(text, constants) -> Program       parse_kernel(text) -> Kernel

Text that is not loop IR raises `ParseError` with line and column. Whether the result keeps the
rules of the grammar is for `verify` to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.loop.expression_parser import Line, Names, dimension, expression, shape
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Branch,
    Buffer,
    Check,
    Comment,
    For,
    If,
    Kernel,
    Kind,
    Launch,
    Let,
    Place,
    Program,
    Space,
    Step,
    Stmt,
    Store,
    While,
)
from smelt.ir.loop.printer import ACCUMULATIONS, digest
from smelt.ir.scalar import Expr, Load, Var
from smelt.ir.types import row_major_strides

_COMBINATIONS = {symbol: op for op, symbol in ACCUMULATIONS.items()}
_ALLOCATIONS = {s.value: s for s in (Space.LOCAL, Space.SCRATCH, Space.SHARED)}
_PLACES: tuple[Literal["input", "output", "constant", "arena", "kept"], ...] = (
    "input", "output", "constant", "arena", "kept",
)  # fmt: skip


def parse_program(text: str, constants: Iterable[Any] = ()) -> Program:
    """Return the program that `text` states.

    Args:
        text: what `print_program` gave, or a person wrote.
        constants: the large constants, which the text names by digest.

    Raises:
        ParseError: the text is not a program, or a constant is missing.
    """
    reader = _Reader(text)
    program = _program(reader, {digest(c): c for c in constants})
    reader.expect_end()
    return program


def parse_kernel(text: str) -> Kernel:
    """Return the kernel that `text` states.

    Raises:
        ParseError: the text is not a kernel.
    """
    reader = _Reader(text)
    kernel = _kernel(reader)
    reader.expect_end()
    return kernel


class _Reader:
    """Walks over the lines of a text that are not blank."""

    def __init__(self, text: str) -> None:
        self.lines = [
            Line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()
        ]
        self.position = 0

    def peek(self, depth: int) -> Line | None:
        """Return the next line if it is indented by `depth`; None if the block ends before it."""
        if self.position == len(self.lines):
            return None
        line = self.lines[self.position]
        if line.indent > depth:
            raise line.error("unexpected indentation")
        return line if line.indent == depth else None

    def next(self, depth: int, expected: str) -> Line:
        """Take the next line, which must be indented by `depth`."""
        line = self.peek(depth)
        if line is None:
            at = self.lines[min(self.position, len(self.lines) - 1)] if self.lines else Line(1, "")
            raise at.error(f"expected {expected}")
        self.position += 1
        return line

    def body_depth(self, depth: int) -> int:
        """Return the indentation of the block below a header that is indented by `depth`."""
        if self.position < len(self.lines) and self.lines[self.position].indent > depth:
            return self.lines[self.position].indent
        at = self.lines[max(self.position - 1, 0)]
        raise at.error("expected an indented block below")

    def expect_end(self) -> None:
        """Raise unless all lines were read."""
        if self.position < len(self.lines):
            raise self.lines[self.position].error("unexpected text after the end")


# --- programs -----------------------------------------------------------------------------------


def _program(reader: _Reader, constants: dict[str, Any]) -> Program:
    head = reader.next(0, "a program")
    head.take("program")
    name = head.name("the program's name")
    sizes: list[str] = []
    if head.accept("("):
        sizes = head.separated(lambda: head.name("a size"), ")")
    head.take(":")
    head.end()
    comments: list[str] = []
    inputs: list[Buffer] = []
    outputs: list[Buffer] = []
    values: list[Any] = []
    kernels: list[Kernel] = []
    arena: int | Dim = 0
    kept = 0
    derive: list[Launch] = []
    depth = reader.body_depth(0)
    while (line := reader.peek(depth)) is not None:
        if line.comment is not None and line.is_comment:
            comments.append(line.comment)
        elif line.accept("input"):
            inputs.append(_buffer(line, Space.GLOBAL))
        elif line.accept("output"):
            outputs.append(_buffer(line, Space.GLOBAL))
        elif line.accept("constant"):
            values.append(_constant(line, constants))
        elif line.accept("arena"):
            arena = dimension(line)
        elif line.accept("kept"):
            kept = _kept_bytes(line)
        elif line.at("kernel"):
            kernels.append(_kernel(reader, depth))
            continue
        elif line.accept("derive"):
            line.take(":")
            line.end()
            reader.position += 1
            derive += _launches_below(reader, depth)
            continue
        else:
            break
        line.end()
        reader.position += 1
    steps = _steps(reader, depth)
    return Program(
        name, tuple(kernels), steps, tuple(inputs), tuple(outputs), tuple(values), arena,
        tuple(sizes), tuple(comments), tuple(derive), kept,
    )  # fmt: skip


def _kept_bytes(line: Line) -> int:
    size = dimension(line)
    if not isinstance(size, int):
        raise line.error("the size of the kept memory is a number")
    return size


def _launches_below(reader: _Reader, depth: int) -> list[Launch]:
    inner = reader.body_depth(depth)
    found: list[Launch] = []
    while (line := reader.peek(inner)) is not None:
        step = _step(reader, line, inner)
        if not isinstance(step, Launch):
            raise line.error("kept memory is derived by launches alone")
        found.append(step)
    return found


def _steps(reader: _Reader, depth: int) -> tuple[Step, ...]:
    found: list[Step] = []
    while (line := reader.peek(depth)) is not None and not line.at("stop"):
        found.append(_step(reader, line, depth))
    return tuple(found)


def _step(reader: _Reader, line: Line, depth: int) -> Step:
    reader.position += 1
    if line.accept("launch"):
        kernel = line.name("a kernel")
        line.take("(")
        places = line.separated(lambda: _place(line), ")")
        line.end()
        return Launch(kernel, tuple(places))
    if line.accept("if"):
        condition = _place(line)
        line.take(":")
        line.end()
        body = _steps_below(reader, depth)
        orelse: tuple[Step, ...] = ()
        following = reader.peek(depth)
        if following is not None and following.accept("else"):
            following.take(":")
            following.end()
            reader.position += 1
            orelse = _steps_below(reader, depth)
        return Branch(condition, body, orelse)
    if line.accept("repeat"):
        line.take(":")
        line.end()
        inner = reader.body_depth(depth)
        test = _steps(reader, inner)
        stop = reader.next(inner, "`stop unless`")
        stop.take("stop")
        stop.take("unless")
        condition = _place(stop)
        stop.end()
        return While(test, condition, _steps(reader, inner))
    raise line.error("expected launch, if or repeat")


def _steps_below(reader: _Reader, depth: int) -> tuple[Step, ...]:
    inner = reader.body_depth(depth)
    line = reader.peek(inner)
    if line is not None and line.accept("pass"):
        line.end()
        reader.position += 1
        return ()
    return _steps(reader, inner)


def _place(line: Line) -> Place:
    for kind in _PLACES:
        if line.accept(kind):
            return Place(kind, dimension(line))
    raise line.error(f"expected one of {', '.join(_PLACES)}")


def _constant(line: Line, constants: dict[str, Any]) -> Any:
    dtype = line.dtype()
    extents = shape(line)
    if line.accept("sha256"):
        name = line.word("a digest")
        if name not in constants:
            raise line.error(f"no constant with digest {name} was given")
        return constants[name]
    line.take("=")
    line.take("[")
    values = line.separated(lambda: _value(line), "]")
    if not all(isinstance(e, int) for e in extents):
        raise line.error("a constant has a constant shape")
    try:
        return np.array(values, dtype=dtype.numpy).reshape([int(str(e)) for e in extents])
    except (ValueError, OverflowError) as error:
        raise line.error(str(error)) from error


def _value(line: Line) -> scalar.Scalar:
    negative = line.accept("-")
    value = line.plain_number()
    return -value if negative else value


# --- kernels ------------------------------------------------------------------------------------


def _kernel(reader: _Reader, depth: int = 0) -> Kernel:
    line = reader.next(depth, "a kernel")
    line.take("kernel")
    name = line.name("the kernel's name")
    line.take("(")
    written: set[str] = set()

    def parameter() -> Buffer:
        buffer = _buffer(line, Space.GLOBAL)
        if line.accept("written"):
            written.add(buffer.name)
        return buffer

    params = line.separated(parameter, ")")
    sizes: list[str] = []
    if line.accept("sizes"):
        line.take("(")
        sizes = line.separated(lambda: line.name("a size"), ")")
    precise = line.accept("precise")
    line.take(":")
    line.end()
    names = Names({b.name: b for b in params}, {n: Var(n) for n in sizes})
    body = _block(reader, reader.body_depth(depth), names)
    return Kernel(
        name, tuple(params), body, tuple(sizes), frozenset(written), precise, line.comment or ""
    )


def _buffer(line: Line, space: Space) -> Buffer:
    name = line.name("a buffer")
    line.take(":")
    dtype = line.dtype()
    extents = shape(line)
    strides = shape(line) if line.accept("strides") else row_major_strides(extents)
    return Buffer(name, dtype, extents, strides, space)


def _block(reader: _Reader, depth: int, names: Names) -> tuple[Stmt, ...]:
    found: list[Stmt] = []
    while (line := reader.peek(depth)) is not None:
        reader.position += 1
        if line.is_comment:
            found.append(Comment(line.comment or ""))
        elif line.accept("pass"):
            line.end()
        else:
            found.append(_statement(reader, line, depth, names))
    return tuple(found)


def _below(reader: _Reader, depth: int, names: Names) -> tuple[Stmt, ...]:
    return _block(reader, reader.body_depth(depth), names)


def _scope(reader: _Reader, line: Line, depth: int, names: Names) -> tuple[Stmt, ...]:
    """Return the body of a binding: the block below it, or the rest of its own block."""
    if line.accept(":"):
        line.end()
        return _below(reader, depth, names)
    line.end()
    return _block(reader, depth, names)


def _statement(reader: _Reader, line: Line, depth: int, names: Names) -> Stmt:
    if line.is_element():
        return _assignment(line, names)
    if line.accept("for"):
        return _for(reader, line, depth, names)
    if line.accept("if"):
        condition = expression(line, names)
        line.take(":")
        line.end()
        body = _below(reader, depth, names)
        following = reader.peek(depth)
        orelse: tuple[Stmt, ...] = ()
        if following is not None and following.accept("else"):
            following.take(":")
            following.end()
            reader.position += 1
            orelse = _below(reader, depth, names)
        return If(condition, body, orelse)
    if line.accept("let"):
        name = line.name("a variable")
        line.take(":")
        var = Var(name, line.dtype())
        line.take("=")
        value = expression(line, names)
        return Let(var, value, _scope(reader, line, depth, names.with_variable(var)))
    for word, space in _ALLOCATIONS.items():
        if line.accept(word):
            buffer = _buffer(line, space)
            return Alloc(buffer, _scope(reader, line, depth, names.with_buffer(buffer)))
    if line.accept("check"):
        code = line.plain_number()
        line.take("(")
        parts = line.separated(lambda: expression(line, names), ")")
        line.end()
        if len(parts) != 3 or not isinstance(code, int):
            raise line.error("expected check code(condition, value, limit)")
        return Check(parts[0], code, parts[1], parts[2])
    if line.accept("barrier"):
        line.end()
        return Barrier()
    return _assignment(line, names)


def _for(reader: _Reader, line: Line, depth: int, names: Names) -> For:
    var = Var(line.name("a variable"))
    line.take("in")
    word = line.name("a kind of loop")
    kinds = {k.value: k for k in Kind}
    if word not in kinds:
        raise line.error(f"{word} is none of {', '.join(kinds)}")
    line.take("(")
    parts = line.separated(lambda: expression(line, names), ")")
    line.take(":")
    line.end()
    if len(parts) not in (2, 3):
        raise line.error("a loop has a start, a stop and perhaps a step")
    step: Expr = parts[2] if len(parts) == 3 else scalar.integer(1)
    if not isinstance(step, scalar.Const) or step.dtype is not dtypes.int64:
        raise line.error("the step of a loop is an integer")
    body = _below(reader, depth, names.with_variable(var))
    return For(var, parts[0], parts[1], kinds[word], body, int(step.value), line.comment or "")


def _assignment(line: Line, names: Names) -> Stmt:
    target = expression(line, names)
    if not isinstance(target, Load):
        raise line.error("expected a statement")
    if line.accept("="):
        value = expression(line, names)
        line.end()
        return Store(target.buffer, target.index, value)
    for symbol, op in _COMBINATIONS.items():
        if line.accept(symbol):
            value = expression(line, names)
            line.end()
            return Accumulate(target.buffer, target.index, op, value)
    raise line.error(f"expected = or one of {', '.join(_COMBINATIONS)}")
