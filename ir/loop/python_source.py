"""Translate a kernel into the source of a Python function: how the loop interpreter is fast enough.

`compiled(kernel)` gives a function of one flat array a parameter, then one int a symbolic size. The
source is registered in `linecache`, so that a traceback through a kernel shows its lines.

i64 values are Python ints, wrapped where they may come from data; every other dtype is a NumPy
scalar, so that each operation rounds or wraps by itself.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import lru_cache
from typing import Any, assert_never

import numpy as np
from smelt.ir import dtypes, scalar_reference
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import InternalError
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
    Let,
    Stmt,
    Store,
    walk,
)
from smelt.ir.loop.grammar import (
    Kind as LoopKind,
)
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var, of_dim
from smelt.ir.structured import data_error

_INDEPENDENT = (LoopKind.PARALLEL, LoopKind.VECTOR, LoopKind.BLOCK, LoopKind.THREAD)


@lru_cache(maxsize=256)
def compiled(kernel: Kernel) -> Callable[..., None]:
    """Return the kernel as a Python function."""
    source, names = _Writer(kernel).function()
    file = f"<loop IR of {kernel.name} at {id(kernel):#x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names["kernel"]


class _Writer:
    """Writes one kernel's source."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lines: list[str] = []
        self.names: dict[str, Any] = dict(_RUNTIME)
        self.identifiers: dict[object, str] = {}
        self.small: set[Var] = {Var(n) for n in kernel.sizes}
        self.temporaries = 0
        self.threads = 0

    def function(self) -> tuple[str, dict[str, Any]]:
        """Return the source and the global names that it uses."""
        params = [self.buffer(b) for b in self.kernel.params]
        sizes = [self.variable(Var(n)) for n in self.kernel.sizes]
        self.lines.append(f"def kernel({', '.join(params + sizes)}):")
        self.block(self.kernel.body, 1)
        return "\n".join(self.lines) + "\n", self.names

    def put(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def identifier(self, key: object, hint: str) -> str:
        if key not in self.identifiers:
            plain = "".join(c if c.isalnum() else "_" for c in hint)
            self.identifiers[key] = f"{plain}_{len(self.identifiers)}"
        return self.identifiers[key]

    def buffer(self, buffer: Buffer) -> str:
        return self.identifier(buffer, buffer.name)

    def variable(self, var: Var) -> str:
        return self.identifier(var, var.name)

    def constant(self, value: Any, hint: str) -> str:
        name = f"{hint}_{len(self.names)}"
        self.names[name] = value
        return name

    # --- statements ---------------------------------------------------------------------------

    def block(self, body: Iterable[Stmt], depth: int) -> None:
        count = len(self.lines)
        for stmt in body:
            self.statement(stmt, depth)
        if len(self.lines) == count:
            self.put(depth, "pass")

    def statement(self, stmt: Stmt, depth: int) -> None:
        match stmt:
            case For():
                self.loop(stmt, depth)
            case If(condition, body, orelse):
                self.put(depth, f"if {self.expr(condition)}:")
                self.block(body, depth + 1)
                if orelse:
                    self.put(depth, "else:")
                    self.block(orelse, depth + 1)
            case Let(var, value, body):
                if self.is_small(value):
                    self.small.add(var)
                self.put(depth, f"{self.variable(var)} = {self.expr(value)}")
                self.block(body, depth)
            case Alloc(buffer, body):
                shape = [self.expr(of_dim(e)) for e in buffer.shape]
                strides = [self.expr(of_dim(s)) for s in buffer.strides]
                dtype = self.constant(buffer.dtype.numpy, "dtype")
                arguments = f"{dtype}, ({_items(shape)}), ({_items(strides)})"
                self.put(depth, f"{self.buffer(buffer)} = allocate({arguments})")
                self.block(body, depth)
            case Store(buffer, index, value):
                # The value comes first: a bad load in it is found before the place is looked at.
                stored = self.expr(value)
                self.put(depth, f"{self.element(buffer, index, stored)}")
            case Accumulate(buffer, index, op, value):
                old = self.element(buffer, index, None)
                combined = self.combine(op, buffer.dtype, old, self.expr(value))
                self.put(depth, self.element(buffer, index, combined))
            case Check(holds, code, value, limit):
                self.put(depth, f"if not {self.expr(holds)}:")
                arguments = f"{code}, int({self.expr(value)}), int({self.expr(limit)})"
                self.put(depth + 1, f"raise data_error({arguments})")
            case Barrier():
                self.put(depth, "yield")
            case Comment(text):
                self.put(depth, f"# {text}")
            case _:
                assert_never(stmt)

    def loop(self, stmt: For, depth: int) -> None:
        self.small.add(stmt.var)
        var = self.variable(stmt.var)
        domain = f"range({self.expr(stmt.start)}, {self.expr(stmt.stop)}, {stmt.step})"
        if stmt.kind in _INDEPENDENT:
            domain = f"reversed({domain})"
        waits = any(isinstance(s, Barrier) for s in walk(stmt.body))
        if stmt.kind is not LoopKind.THREAD or not waits:
            self.put(depth, f"for {var} in {domain}:")
            self.block(stmt.body, depth + 1)
            return
        # Threads that wait for each other run as generators, in step from barrier to barrier.
        name = f"thread_{self.threads}"
        outermost = self.threads == 0
        self.threads += 1
        self.put(depth, f"def {name}({var}):")
        self.block(stmt.body, depth + 1)
        together = f"in_step([{name}({var}) for {var} in {domain}])"
        self.put(depth, f"run_all({together})" if outermost else f"yield from {together}")
        self.threads -= 1

    # --- expressions --------------------------------------------------------------------------

    def element(self, buffer: Buffer, index: tuple[Expr, ...], stored: str | None) -> str:
        """Return the source that reads an element (`stored` is None) or writes it, checked."""
        name = self.buffer(buffer)
        if not index:
            return f"{name}[0]" if stored is None else f"{name}[0] = {stored}"
        guards: list[str] = []
        places = [self.expr(e) for e in index]
        offset: list[str] = []
        for value, extent, stride in zip(places, buffer.shape, buffer.strides):
            self.temporaries += 1
            place = f"t{self.temporaries}"
            guards.append(f"0 <= ({place} := {value}) < {self.expr(of_dim(extent))}")
            step = self.expr(of_dim(stride))
            offset.append(place if step == "1" else f"{place} * {step}")
        where = " + ".join(offset)
        found = f"outside({buffer.name!r}, {self.kernel.name!r}, ({_items(places)}))"
        safe = f"{where} if {' and '.join(guards)} else {found}"
        if stored is None:
            read = f"{name}[{safe}]"
            return f"int({read})" if buffer.dtype is dtypes.int64 else read
        return f"{name}[{safe}] = {stored}"

    def is_small(self, expr: Expr) -> bool:
        """Tell whether an i64 value is made of loop variables and sizes alone: it never wraps."""
        match expr:
            case Var():
                return expr in self.small
            case Const():
                return True
            case Apply(op, args, dtype) if dtype is dtypes.int64 and op not in ("cast", "bitcast"):
                return all(a.dtype is not dtypes.int64 or self.is_small(a) for a in args)
            case _:
                return False

    def expr(self, expr: Expr) -> str:
        match expr:
            case Const(value, dtype):
                if dtype is dtypes.int64 or dtype.kind is Kind.BOOL:
                    return repr(value)
                return self.constant(dtype.numpy.type(value), "c")
            case Var():
                return self.variable(expr)
            case Load(buffer, index):
                return self.element(buffer, index, None)
            case Read():
                raise InternalError(f"kernel {self.kernel.name}: a Read belongs in a stage")
            case Apply(op, args, dtype):
                return self.apply(op, args, dtype, self.is_small(expr))

    def apply(self, op: str, args: tuple[Expr, ...], dtype: DType, small: bool) -> str:
        values = [self.expr(a) for a in args]
        source = args[-1].dtype
        if op == "select":
            return f"choose({', '.join(values)})"
        if op in ("cast", "bitcast"):
            operand = f"int64({values[0]})" if source is dtypes.int64 else values[0]
            if source.kind is Kind.BOOL:
                operand = f"bool_({operand})"
            if op == "cast" and dtype is dtypes.int64 and source.kind in (Kind.INT, Kind.BOOL):
                return f"int({values[0]})"
            result = f"{op}({operand}, {self.constant(dtype, 'dtype')})"
            return f"int({result})" if dtype is dtypes.int64 else result
        if source is dtypes.int64:
            return self.of_integers(op, values, small)
        if source.kind is Kind.BOOL and op == "not":
            return f"(not {values[0]})"
        half = source.is_half and op in scalar_reference.ROUNDED
        if op in _INFIX and not half and (op not in _BITWISE or source.kind is not Kind.FLOAT):
            return f"({values[0]} {_INFIX[op]} {values[1]})"
        return f"{self.operation(op, source if half else None)}({', '.join(values)})"

    def of_integers(self, op: str, values: list[str], small: bool) -> str:
        if op in _COMPARISONS or op in ("and", "or", "xor"):
            return f"({values[0]} {_INFIX[op]} {values[1]})"
        if op in _PYTHON_INTEGERS:
            result = _PYTHON_INTEGERS[op].format(*values)
            return result if small or op in ("max", "min") else f"wrap({result})"
        operands = ", ".join(f"int64(wrap({v}))" for v in values)
        return f"int({self.operation(op, None)}({operands}))"

    def operation(self, op: str, half: DType | None) -> str:
        """Return the global name of an operation, for a half type through float32."""
        name = f"op_{op}" if half is None else f"op_{op}_{half.name}"
        if name not in self.names:
            wide = scalar_reference.FUNCTIONS[op]
            self.names[name] = wide if half is None else _rounded(wide, half)
        return name

    def combine(self, op: str, dtype: DType, old: str, value: str) -> str:
        if dtype is dtypes.int64:
            return self.of_integers(op, [old, value], small=False)
        if op in _INFIX and not dtype.is_half:
            return f"{old} {_INFIX[op]} {value}"
        half = dtype.is_half and op in scalar_reference.ROUNDED
        return f"{self.operation(op, dtype if half else None)}({old}, {value})"


_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_BITWISE = {"and": "&", "or": "|", "xor": "^"}
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", **_COMPARISONS, **_BITWISE}
_PYTHON_INTEGERS = {
    "add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "neg": "(-{})", "abs": "abs({})",
    "floordiv": "({} // {})", "mod": "({} % {})", "max": "max({}, {})", "min": "min({}, {})",
}  # fmt: skip


def _items(parts: Sequence[str]) -> str:
    return "".join(f"{p}, " for p in parts)


def _rounded(wide: Callable[..., Any], half: DType) -> Callable[..., Any]:
    to = half.numpy.type
    return lambda *values: to(wide(*(np.float32(v) for v in values)))


def _wrap(value: int) -> int:
    return ((int(value) + 2**63) & (2**64 - 1)) - 2**63


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _allocate(dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    count = 0 if 0 in shape else 1 + sum((e - 1) * s for e, s in zip(shape, strides))
    return np.full(count * dtype.itemsize, 0xFF, np.uint8).view(dtype)


def _outside(buffer: str, kernel: str, place: tuple[int, ...]) -> int:
    raise InternalError(f"kernel {kernel}: {buffer} has no element at {list(place)}")


def _in_step(threads: list[Generator[None, None, None]]) -> Generator[None, None, None]:
    """Run generators from barrier to barrier, all of them to the same one."""
    while threads:
        waiting = [t for t in threads if next(t, _DONE) is not _DONE]
        if waiting and len(waiting) < len(threads):
            raise InternalError("some threads of a block wait at a barrier that others never reach")
        threads = waiting
        if waiting:
            yield


_DONE = object()


def _run_all(generator: Generator[None, None, None]) -> None:
    for _ in generator:
        pass


_RUNTIME: dict[str, Any] = {
    "allocate": _allocate,
    "bitcast": scalar_reference.bitcast,
    "bool_": np.bool_,
    "cast": scalar_reference.cast,
    "choose": _choose,
    "data_error": data_error,
    "in_step": _in_step,
    "int64": np.int64,
    "outside": _outside,
    "run_all": _run_all,
    "wrap": _wrap,
}
