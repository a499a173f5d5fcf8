"""Print loop IR as text that reads like code and that `parser` reads back.

    kernel add_relu(x: f32[8, 4], y: f32[8, 4] written):  # model.py:31
        for i0 in parallel(0, 8):
            for j in vector(0, 4):
                y[i0, j] = max(x[i0, j] + 1.0, 0.0)

- Floats without a suffix are f32, integers i64; others carry their type: `1.5_f64`, `3_u32`.
- `let t: f32 = …` and `local acc: f32[4]` (also `scratch`, `shared`) hold to the end of their
  block; with a colon at the end of the line, for the indented block that follows.
- A buffer that is not row-major shows its strides: `f32[8, 4] strides [1, 8]`.
- `a[i] += v`, `*=`, `max=`, `min=`, `and=` and `or=` are `Accumulate`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, assert_never

import numpy as np
from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import Kind
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
    Launch,
    Let,
    Place,
    Program,
    Step,
    Stmt,
    Store,
    While,
)
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var
from smelt.ir.types import row_major_strides

INLINE_ELEMENTS = 16
"""Constants of at most so many elements are printed whole, others by digest."""

INFIX: dict[str, tuple[str, int]] = {
    "or": ("or", 1), "and": ("and", 2),
    "eq": ("==", 4), "ne": ("!=", 4), "lt": ("<", 4), "le": ("<=", 4), "gt": (">", 4),
    "ge": (">=", 4), "xor": ("^", 6), "shl": ("<<", 8), "shr": (">>", 8),
    "add": ("+", 9), "sub": ("-", 9), "mul": ("*", 10), "div": ("/", 10),
    "floordiv": ("//", 10), "mod": ("%", 10),
}  # fmt: skip
"""Symbol and strength of the binary operations; `&` and `|` stand for and, or of integers."""

RESERVED = frozenset({"and", "else", "if", "in", "inf", "nan", "not", "or", "False", "True"})
"""Words that cannot be names of variables and buffers."""

BITWISE = {"or": ("|", 5), "and": ("&", 7)}
NOT_STRENGTH = 3
UNARY_STRENGTH = 11
ACCUMULATIONS = {
    "add": "+=", "mul": "*=", "max": "max=", "min": "min=", "and": "and=", "or": "or=",
}  # fmt: skip


def print_program(program: Program) -> str:
    """Return a program as text."""
    sizes = f"({', '.join(program.sizes)})" if program.sizes else ""
    lines = [f"program {program.name}{sizes}:"]
    lines += [f"    # {c}" for c in program.comments]
    lines += [f"    input {_declared(b)}" for b in program.inputs]
    lines += [f"    output {_declared(b)}" for b in program.outputs]
    lines += [f"    constant {_constant(c)}" for c in program.constants]
    lines.append(f"    arena {program.arena_bytes}")
    if program.kept_bytes:
        lines.append(f"    kept {program.kept_bytes}")
    for kernel in program.kernels:
        lines.append("")
        lines += ["    " + line if line else "" for line in print_kernel(kernel).splitlines()]
    if program.derive:
        lines += ["", "    derive:"]
        lines += [f"        {line}" for line in _steps(program.derive)]
    if program.steps:
        lines.append("")
    lines += [f"    {line}" for line in _steps(program.steps)]
    return "\n".join(lines) + "\n"


def print_kernel(kernel: Kernel) -> str:
    """Return a kernel as text."""
    params = ", ".join(
        _declared(b) + (" written" if b.name in kernel.written else "") for b in kernel.params
    )
    sizes = f" sizes ({', '.join(kernel.sizes)})" if kernel.sizes else ""
    precise = " precise" if kernel.precise else ""
    origin = f"  # {kernel.origin}" if kernel.origin else ""
    lines = [f"kernel {kernel.name}({params}){sizes}{precise}:{origin}"]
    lines += [f"    {line}" for line in _block(kernel.body)]
    return "\n".join(lines) + "\n"


def print_expr(expr: Expr) -> str:
    """Return an expression as text."""
    return _expr(expr, 0)


def digest(constant: Any) -> str:
    """Return the digest by which text refers to a large constant."""
    array = np.ascontiguousarray(constant)
    return hashlib.sha256(array.tobytes()).hexdigest()[:32]


def header(stmt: Stmt) -> str:
    """Return the first line of a statement, for messages."""
    return next(iter(_statement(stmt, last=False)))


def _declared(buffer: Buffer) -> str:
    shape = ", ".join(map(str, buffer.shape))
    text = f"{buffer.name}: {buffer.dtype.name}[{shape}]"
    if buffer.strides != row_major_strides(buffer.shape):
        text += f" strides [{', '.join(map(str, buffer.strides))}]"
    return text


def _constant(array: Any) -> str:
    dtype = dtypes.of_numpy(array.dtype)
    text = f"{dtype.name}[{', '.join(map(str, array.shape))}]"
    if array.size > INLINE_ELEMENTS:
        return f"{text} sha256 {digest(array)}"
    values = (_number(scalar.as_python(v, dtype)) for v in array.reshape(-1))
    return f"{text} = [{', '.join(values)}]"


def _steps(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        match step:
            case Launch(kernel, places):
                yield f"launch {kernel}({', '.join(map(_place, places))})"
            case Branch(condition, body, orelse):
                yield f"if {_place(condition)}:"
                yield from (f"    {line}" for line in (_steps(body) if body else ("pass",)))
                if orelse:
                    yield "else:"
                    yield from (f"    {line}" for line in _steps(orelse))
            case While(test, condition, body):
                yield "repeat:"
                yield from (f"    {line}" for line in _steps(test))
                yield f"    stop unless {_place(condition)}"
                yield from (f"    {line}" for line in _steps(body))
            case _:
                assert_never(step)


def _place(place: Place) -> str:
    return f"{place.kind} {place.index}"


def _block(body: tuple[Stmt, ...]) -> Iterator[str]:
    if not body:
        yield "pass"
    for position, stmt in enumerate(body, 1):
        yield from _statement(stmt, position == len(body))


def _indented(body: tuple[Stmt, ...]) -> Iterator[str]:
    return (f"    {line}" for line in _block(body))


def _scoped(line: str, body: tuple[Stmt, ...], last: bool) -> Iterator[str]:
    """Yield a binding: flat where it ends its block, with a block of its own elsewhere."""
    if last:
        yield line
        yield from _block(body)
    else:
        yield f"{line}:"
        yield from _indented(body)


def _statement(stmt: Stmt, last: bool) -> Iterator[str]:
    match stmt:
        case For(var, start, stop, kind, body, step, comment):
            by = f", {step}" if step != 1 else ""
            domain = f"{kind.value}({print_expr(start)}, {print_expr(stop)}{by})"
            note = f"  # {comment}" if comment else ""
            yield f"for {var.name} in {domain}:{note}"
            yield from _indented(body)
        case If(condition, body, orelse):
            yield f"if {print_expr(condition)}:"
            yield from _indented(body)
            if orelse:
                yield "else:"
                yield from _indented(orelse)
        case Let(var, value, body):
            line = f"let {var.name}: {var.dtype.name} = {print_expr(value)}"
            yield from _scoped(line, body, last)
        case Alloc(buffer, body):
            yield from _scoped(f"{buffer.space.value} {_declared(buffer)}", body, last)
        case Store(buffer, index, value):
            yield f"{_element(buffer, index)} = {print_expr(value)}"
        case Accumulate(buffer, index, op, value):
            yield f"{_element(buffer, index)} {ACCUMULATIONS.get(op, op + '=')} {print_expr(value)}"
        case Check(holds, code, value, limit):
            parts = ", ".join(map(print_expr, (holds, value, limit)))
            yield f"check {code}({parts})"
        case Barrier():
            yield "barrier"
        case Comment(text):
            yield f"# {text}"
        case _:
            assert_never(stmt)


def _element(buffer: Buffer, index: tuple[Expr, ...]) -> str:
    return f"{buffer.name}[{', '.join(map(print_expr, index))}]"


def _expr(expr: Expr, strength: int) -> str:
    """Return `expr`, in parentheses where it binds more weakly than `strength`."""
    match expr:
        case Const():
            return _literal(expr)
        case Var(name, _):
            return name
        case Read(reader, dtype):
            return f"read{reader}:{dtype.name}"
        case Load(buffer, index):
            return _element(buffer, index)
        case Apply(op, args, dtype):
            text, own = _application(op, args, dtype)
            return f"({text})" if own < strength else text
        case _:
            assert_never(expr)


def _application(op: str, args: tuple[Expr, ...], dtype: dtypes.DType) -> tuple[str, int]:
    """Return the text of an operation and how strongly it binds."""
    strongest = 100
    if op in INFIX:
        is_bitwise = op in BITWISE and dtype.kind is not Kind.BOOL
        symbol, own = BITWISE[op] if is_bitwise else INFIX[op]
        # Comparisons do not chain, the others associate to the left.
        left = own + 1 if own == 4 else own
        return f"{_expr(args[0], left)} {symbol} {_expr(args[1], own + 1)}", own
    match op:
        case "not" if dtype.kind is Kind.BOOL:
            return f"not {_expr(args[0], NOT_STRENGTH)}", NOT_STRENGTH
        case "neg" | "not":
            sign = "-" if op == "neg" else "~"
            operand = _expr(args[0], UNARY_STRENGTH)
            # -(5) is an operation, -5 a constant.
            is_number = op == "neg" and operand[0] in "0123456789in-"
            operand = f"({operand})" if is_number and isinstance(args[0], Const) else operand
            return f"{sign}{operand}", UNARY_STRENGTH
        case "select":
            a, condition, b = (_expr(e, 1) for e in (args[1], args[0], args[2]))
            return f"{a} if {condition} else {b}", 0
        case "cast":
            return f"{dtype.name}({print_expr(args[0])})", strongest
        case "bitcast":
            return f"bitcast[{dtype.name}]({print_expr(args[0])})", strongest
        case _:
            return f"{op}({', '.join(map(print_expr, args))})", strongest


def _literal(const: Const) -> str:
    match const.dtype:
        case dtypes.bool_ | dtypes.int64:
            return _number(const.value)
        case dtypes.float32 if isinstance(const.value, float) and math.isfinite(const.value):
            return _number(const.value)
        case _:
            return f"{_number(const.value)}_{const.dtype.name}"


def _number(value: scalar.Scalar) -> str:
    return repr(value)
