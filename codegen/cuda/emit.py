"""Emit kernels of loop IR as Python source for `numba.cuda.jit`.

Each statement at the top of a kernel is a launch of its own, for a GPU has no other barrier across
blocks. Loops over blocks and threads become positions in the grid, innermost first along x; what
they enclose becomes Python that reads like the loop IR. Buffers are flat arrays.

    emit_kernel(kernel) -> CudaSource
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from smelt.codegen.cuda.device_functions import definition
from smelt.codegen.cuda.expressions import Names, element, python
from smelt.ir import scalar
from smelt.ir.errors import LoweringError
from smelt.ir.loop.builder import divided_up, minus, plus, times
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Buffer,
    Check,
    Comment,
    For,
    If,
    Kernel,
    Kind,
    Let,
    Space,
    Stmt,
    Store,
    walk,
)
from smelt.ir.scalar import Expr, Var, integer

_AXES = "xyz"


@dataclass(frozen=True)
class CudaFunction:
    """A function of the generated module, and how it is launched.

    Attributes:
        name: what it is called.
        grid: number of blocks along x, y, z: i64 expressions over the kernel's sizes.
        block: number of threads along x, y, z.
        arguments: its arrays, by name of the kernel's parameters, then `error` if it checks data.
    """

    name: str
    grid: tuple[Expr, ...]
    block: tuple[int, ...]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class CudaSource:
    """A kernel as a Python module.

    Attributes:
        text: the module.
        functions: what to launch, in order.
    """

    text: str
    functions: tuple[CudaFunction, ...]


def emit_kernel(kernel: Kernel) -> CudaSource:
    """Return the Python module of a kernel that was bound to blocks and threads.

    Raises:
        LoweringError: it uses what CUDA kernels do not have (yet): scratch memory, half types,
            barriers in threads that take no part, more than three nested loops over threads.
    """
    names = Names()
    for param in kernel.params:
        names.of(param.name)
    for size in kernel.sizes:
        names.of(size)
    parts = [stmt for stmt in kernel.body if not isinstance(stmt, Comment)]
    functions: list[CudaFunction] = []
    texts: list[str] = []
    for number, stmt in enumerate(parts):
        name = names.of(kernel.name if len(parts) == 1 else f"{kernel.name}_{number}")
        function, text = _emit_function(kernel, stmt, name, names)
        functions.append(function)
        texts.append(text)
    definitions = "\n\n".join([*(definition(name) for name in sorted(names.device)), *texts])
    used = set(re.findall(r"\w+", definitions))
    head = [f"import {name}" for name in ("math",) if name in used]
    head += [f"import {name} as np" for name in ("numpy",) if "np" in used]
    head.append(f"from numba import {', '.join(['cuda', *sorted(names.types & used)])}")
    return CudaSource("\n".join(head) + "\n\n\n" + definitions, tuple(functions))


@dataclass
class _Writer:
    """The lines of a function.

    Attributes:
        names: what the module refers to.
        block: threads along x, y, z.
        lines: the lines so far.
    """

    names: Names
    block: tuple[int, ...]
    lines: list[str]

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def expression(self, expr: Expr) -> str:
        return python(self.names, expr)


def _emit_function(kernel: Kernel, stmt: Stmt, name: str, names: Names) -> tuple[CudaFunction, str]:
    blocks: list[For] = []
    body: tuple[Stmt, ...] = (stmt,)
    while len(body) == 1 and isinstance(body[0], For) and body[0].kind is Kind.BLOCK:
        blocks.append(body[0])
        body = body[0].body
    if len(blocks) > len(_AXES):
        raise LoweringError(f"kernel {kernel.name} has more than three nested loops over blocks")
    writer = _Writer(names, _threads(kernel, body, 0), [])
    for axis, found in zip(_AXES, reversed(blocks)):
        _bind(writer, found, f"cuda.blockIdx.{axis}")
    _emit_body(writer, body, 1)
    checked = any(isinstance(s, Check) for s in walk(body))
    arrays = [names.of(b.name) for b in kernel.params] + (["error"] if checked else [])
    parameters = ", ".join([*arrays, *(names.of(s) for s in kernel.sizes)])
    origin = [f"# {kernel.origin}"] if kernel.origin else []
    text = "\n".join([*origin, "@cuda.jit", f"def {name}({parameters}):", *writer.lines])
    grid = tuple(_count(found) for found in reversed(blocks)) or (integer(1),)
    arguments = (*(b.name for b in kernel.params), *(("error",) if checked else ()))
    return CudaFunction(name, grid, writer.block or (1,), arguments), text + "\n"


def _count(found: For) -> Expr:
    return divided_up(minus(found.stop, found.start), found.step)


def _bind(writer: _Writer, found: For, position: str) -> None:
    """Bind the variable of a loop over blocks or threads to a position in the grid."""
    if found.comment:
        writer.line(1, f"# {found.comment}")
    value = python(writer.names, plus(found.start, times(Var(position), found.step)))
    writer.line(1, f"{writer.names.of(found.var.name)} = {value}")


def _threads(kernel: Kernel, body: tuple[Stmt, ...], depth: int) -> tuple[int, ...]:
    """Return the greatest number of threads along each axis that loops ask for."""
    found: tuple[int, ...] = ()
    for stmt in body:
        inner: tuple[int, ...] = ()
        match stmt:
            case For(start=start, stop=stop, kind=Kind.THREAD):
                if not isinstance(start, scalar.Const) or not isinstance(stop, scalar.Const):
                    raise LoweringError(f"kernel {kernel.name}: a varying number of threads")
                count = -(-(int(stop.value) - int(start.value)) // stmt.step)
                inner = (*_threads(kernel, stmt.body, depth + 1), count)
            case For() | Let() | Alloc():
                inner = _threads(kernel, stmt.body, depth)
            case If():
                inner = _greater(
                    _threads(kernel, stmt.body, depth), _threads(kernel, stmt.orelse, depth)
                )
            case _:
                pass
        found = _greater(found, inner)
    if len(found) > len(_AXES):
        raise LoweringError(f"kernel {kernel.name} has more than three nested loops over threads")
    return found


def _greater(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(
        max(a[i] if i < len(a) else 1, b[i] if i < len(b) else 1)
        for i in range(max(len(a), len(b)))
    )


def _emit_body(writer: _Writer, body: tuple[Stmt, ...], depth: int) -> None:
    before = len(writer.lines)
    for stmt in body:
        _emit(writer, stmt, depth)
    if all(line.lstrip().startswith("#") for line in writer.lines[before:]):
        writer.line(depth, "pass")


def _emit(writer: _Writer, stmt: Stmt, depth: int) -> None:
    names = writer.names
    match stmt:
        case For():
            _emit_for(writer, stmt, depth)
        case If(condition, body, orelse):
            writer.line(depth, f"if {writer.expression(condition)}:")
            _emit_body(writer, body, depth + 1)
            if orelse:
                writer.line(depth, "else:")
                _emit_body(writer, orelse, depth + 1)
        case Let(var, value, body):
            writer.line(depth, f"{names.of(var.name)} = {writer.expression(value)}")
            _emit_inline(writer, body, depth)
        case Alloc(buffer, body):
            _emit_alloc(writer, buffer, depth)
            _emit_inline(writer, body, depth)
        case Store(buffer, index, value):
            writer.line(depth, f"{element(names, buffer, index)} = {writer.expression(value)}")
        case Accumulate(buffer, index, op, value):
            whole = scalar.apply(op, scalar.Load(buffer, index), value)
            writer.line(depth, f"{element(names, buffer, index)} = {writer.expression(whole)}")
        case Check(holds, code, value, limit):
            writer.line(depth, f"if not {python(names, holds, 3)}:")
            writer.line(depth + 1, "if cuda.atomic.cas(error, 0, 0, 1) == 0:")
            writer.line(depth + 2, f"error[1] = {code}")
            writer.line(depth + 2, f"error[2] = {writer.expression(value)}")
            writer.line(depth + 2, f"error[3] = {writer.expression(limit)}")
            writer.line(depth + 1, "return")
        case Barrier():
            writer.line(depth, "cuda.syncthreads()")
        case Comment(text):
            writer.line(depth, f"# {text}")
        case _:
            assert_never(stmt)


def _emit_inline(writer: _Writer, body: tuple[Stmt, ...], depth: int) -> None:
    for stmt in body:
        _emit(writer, stmt, depth)


def _emit_for(writer: _Writer, stmt: For, depth: int) -> None:
    names = writer.names
    match stmt.kind:
        case Kind.THREAD:
            level = len(_threads_inside(stmt))
            start = python(names, plus(stmt.start, times(Var(_THREAD[level]), stmt.step)))
            name = names.of(stmt.var.name)
            writer.line(depth, f"{name} = {start}")
            if _extent(stmt) == writer.block[level]:
                _emit_inline(writer, stmt.body, depth)
                return
            if any(isinstance(s, Barrier) for s in walk(stmt.body)):
                raise LoweringError("a barrier stands in a loop that some threads take no part in")
            writer.line(depth, f"if {name} < {writer.expression(stmt.stop)}:")
            _emit_body(writer, stmt.body, depth + 1)
        case Kind.SERIAL | Kind.UNROLL | Kind.VECTOR | Kind.PARALLEL | Kind.BLOCK:
            if stmt.comment:
                writer.line(depth, f"# {stmt.comment}")
            writer.line(depth, f"for {names.of(stmt.var.name)} in range({_range(writer, stmt)}):")
            _emit_body(writer, stmt.body, depth + 1)
        case _:
            assert_never(stmt.kind)


_THREAD = tuple(f"cuda.threadIdx.{axis}" for axis in _AXES)


def _threads_inside(stmt: For) -> tuple[For, ...]:
    """Return the deepest chain of loops over threads inside one."""
    chains = [
        (s, *_threads_inside(s)) for s in walk(stmt.body) if isinstance(s, For)
        and s.kind is Kind.THREAD
    ]  # fmt: skip
    return max(chains, key=len, default=())


def _extent(stmt: For) -> int:
    assert isinstance(stmt.start, scalar.Const) and isinstance(stmt.stop, scalar.Const)
    return -(-(int(stmt.stop.value) - int(stmt.start.value)) // stmt.step)


def _range(writer: _Writer, stmt: For) -> str:
    stop = writer.expression(stmt.stop)
    if stmt.step != 1:
        return f"{writer.expression(stmt.start)}, {stop}, {stmt.step}"
    return stop if stmt.start == integer(0) else f"{writer.expression(stmt.start)}, {stop}"


def _emit_alloc(writer: _Writer, buffer: Buffer, depth: int) -> None:
    places = {Space.LOCAL: "local", Space.SHARED: "shared"}
    if buffer.space not in places:
        raise LoweringError(f"{buffer.name}: a GPU has no {buffer.space.value} memory")
    count = 1
    for extent, stride in zip(buffer.shape, buffer.strides):
        assert isinstance(extent, int) and isinstance(stride, int), "memory of a constant size"
        count += (extent - 1) * stride
    dtype = writer.names.type(buffer.dtype)
    where = f"cuda.{places[buffer.space]}.array({count}, {dtype})"
    writer.line(depth, f"{writer.names.of(buffer.name)} = {where}")
