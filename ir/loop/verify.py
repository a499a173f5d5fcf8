"""Check that loop IR keeps the rules of its grammar.

    verify_program(program)      verify_kernel(kernel)

A broken rule raises `VerifyError`, whose message names the kernel, the statement and the rule.
Checked are types, ranks and scopes, that names are unique, that parameters said to be read alone
are not written, and what the kinds of loops and the spaces of buffers promise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from smelt.ir import dim as dims
from smelt.ir import dtypes, scalar
from smelt.ir.errors import VerifyError
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
    walk,
)
from smelt.ir.loop.printer import RESERVED, header
from smelt.ir.scalar import Apply, Const, Expr, Load, Read, Var
from smelt.ir.structured import DATA_ERRORS

_NAME = re.compile(r"[A-Za-z_%][\w.%]*")

COMBINATIONS = frozenset({"add", "mul", "max", "min", "and", "or"})
"""The operations that `Accumulate` takes."""


def verify_program(program: Program) -> None:
    """Check a program and all its kernels.

    Raises:
        VerifyError: a rule is broken.
    """
    kernels: dict[str, Kernel] = {}
    for kernel in program.kernels:
        if kernel.name in kernels:
            raise VerifyError(f"program {program.name}: two kernels are called {kernel.name}")
        kernels[kernel.name] = kernel
        if not set(kernel.sizes) <= set(program.sizes):
            raise VerifyError(
                f"program {program.name}: kernel {kernel.name} uses sizes {list(kernel.sizes)}, "
                f"the program has {list(program.sizes)}"
            )
        verify_kernel(kernel)
    _verify_steps(program, kernels, program.steps)
    _verify_steps(program, kernels, program.derive)
    _verify_kept(program, kernels)


def _verify_kept(program: Program, kernels: dict[str, Kernel]) -> None:
    """Check that kept memory depends on inputs and constants alone and is written by `derive`."""
    for step in program.derive:
        kernel = kernels[step.kernel]
        if any(isinstance(stmt, Check) for stmt in walk(kernel.body)):
            raise VerifyError(f"program {program.name}: {kernel.name} derives, but checks data")
        for place, buffer in zip(step.places, kernel.params):
            written = buffer.name in kernel.written
            if place.kind in ("output", "arena") or written != (place.kind == "kept"):
                raise VerifyError(
                    f"program {program.name}: {kernel.name}({buffer.name}) is {place.kind} "
                    f"{place.index}; what derives reads inputs and constants and writes kept memory"
                )
    for step in _launches(program.steps):
        kernel = kernels[step.kernel]
        for place, buffer in zip(step.places, kernel.params):
            if place.kind == "kept" and buffer.name in kernel.written:
                raise VerifyError(
                    f"program {program.name}: {kernel.name}({buffer.name}) writes kept memory, "
                    "which only `derive` does"
                )


def _launches(steps: tuple[Step, ...]) -> Iterator[Launch]:
    for step in steps:
        match step:
            case Launch():
                yield step
            case Branch(_, body, orelse):
                yield from _launches((*body, *orelse))
            case While(test, _, body):
                yield from _launches((*test, *body))
            case _:
                assert_never(step)


def _verify_steps(program: Program, kernels: dict[str, Kernel], steps: tuple[Step, ...]) -> None:
    for step in steps:
        match step:
            case Launch(name, places):
                if name not in kernels:
                    raise VerifyError(f"program {program.name}: no kernel is called {name}")
                params = kernels[name].params
                if len(places) != len(params):
                    raise VerifyError(
                        f"program {program.name}: {name} has {len(params)} parameters, "
                        f"a launch gives it {len(places)}"
                    )
                for place, buffer in zip(places, params):
                    _verify_place(program, place, f"{name}({buffer.name})")
            case Branch(condition, body, orelse):
                _verify_place(program, condition, "the condition of a branch")
                _verify_steps(program, kernels, body)
                _verify_steps(program, kernels, orelse)
            case While(test, condition, body):
                _verify_place(program, condition, "the condition of a loop")
                _verify_steps(program, kernels, test)
                _verify_steps(program, kernels, body)
            case _:
                assert_never(step)


def _verify_place(program: Program, place: Place, what: str) -> None:
    index = place.index
    if place.kind in ("arena", "kept"):
        if isinstance(index, int) and (index < 0 or index % 64):
            raise VerifyError(
                f"program {program.name}: {what} is at byte {index} of the {place.kind}, "
                "which is not a multiple of 64"
            )
        total = program.arena_bytes if place.kind == "arena" else program.kept_bytes
        if isinstance(index, int) and isinstance(total, int) and index > total:
            kind = "an arena" if place.kind == "arena" else "kept memory"
            raise VerifyError(
                f"program {program.name}: {what} is at byte {index} of {kind} of {total}"
            )
        return
    counts = {
        "input": len(program.inputs),
        "output": len(program.outputs),
        "constant": len(program.constants),
    }
    if not isinstance(index, int) or not 0 <= index < counts[place.kind]:
        raise VerifyError(
            f"program {program.name}: {what} is {place.kind} {index}, "
            f"there are {counts[place.kind]}"
        )


def verify_kernel(kernel: Kernel) -> None:
    """Check one kernel.

    Raises:
        VerifyError: a rule is broken.
    """
    names = [b.name for b in kernel.params] + list(kernel.sizes)
    work = _Verifier(kernel, set())
    for name in names:
        work.claim(name, None)
    unknown = kernel.written - {b.name for b in kernel.params}
    if unknown:
        raise VerifyError(f"kernel {kernel.name}: written names {sorted(unknown)}, no parameters")
    for buffer in kernel.params:
        if buffer.space is not Space.GLOBAL:
            raise VerifyError(f"kernel {kernel.name}: parameter {buffer.name} is not global")
        work.sized(buffer, None)
    scope = _Scope(
        frozenset(Var(n) for n in kernel.sizes), frozenset(kernel.params), parallel_allowed=True
    )
    work.block(kernel.body, scope)


@dataclass(frozen=True)
class _Scope:
    """What surrounds a statement.

    Attributes:
        variables: those bound.
        buffers: those that have memory.
        parallel_allowed: only parallel loops and `Let`s are outside.
        inside: kinds of the loops outside.
        lanes: variables that differ between the lanes of the vector loop outside, if any.
        lane_count: number of lanes.
        lane_buffers: buffers of which each lane has its own.
    """

    variables: frozenset[Var]
    buffers: frozenset[Buffer]
    parallel_allowed: bool = False
    inside: frozenset[Kind] = frozenset()
    lanes: frozenset[Var] = frozenset()
    lane_count: int = 0
    lane_buffers: frozenset[Buffer] = frozenset()


class _Verifier:
    """Checks one kernel; remembers the names that it has met."""

    def __init__(self, kernel: Kernel, names: set[str]) -> None:
        self.kernel = kernel
        self.names = names

    def fail(self, stmt: Stmt | None, rule: str) -> VerifyError:
        where = "" if stmt is None else f": `{header(stmt)}`"
        return VerifyError(f"kernel {self.kernel.name}{where}: {rule}")

    def claim(self, name: str, stmt: Stmt | None) -> None:
        if name in self.names:
            raise self.fail(stmt, f"the name {name} is bound twice")
        if name in RESERVED or not _NAME.fullmatch(name):
            raise self.fail(stmt, f"{name!r} cannot be a name")
        self.names.add(name)

    def block(self, body: tuple[Stmt, ...], scope: _Scope) -> None:
        for stmt in body:
            self.statement(stmt, scope)

    def statement(self, stmt: Stmt, scope: _Scope) -> None:
        match stmt:
            case For():
                self.loop(stmt, scope)
            case If(condition, body, orelse):
                self.typed(stmt, condition, dtypes.bool_, "condition", scope)
                inner = replace(scope, parallel_allowed=False)
                self.block(body, inner)
                self.block(orelse, inner)
            case Let(var, value, body):
                self.claim(var.name, stmt)
                self.typed(stmt, value, var.dtype, "value", scope)
                varies = bool(scope.lanes & scalar.variables(value))
                lanes = scope.lanes | {var} if varies else scope.lanes
                self.block(body, replace(scope, variables=scope.variables | {var}, lanes=lanes))
            case Alloc(buffer, body):
                self.allocation(stmt, buffer, scope)
                own = {buffer} if scope.lane_count else set[Buffer]()
                inner = replace(
                    scope,
                    buffers=scope.buffers | {buffer},
                    lane_buffers=scope.lane_buffers | own,
                    parallel_allowed=False,
                )
                self.block(body, inner)
            case Store(buffer, index, value):
                self.place(stmt, buffer, index, scope)
                self.typed(stmt, value, buffer.dtype, "value", scope)
                if self.lanes_meet(buffer, index, scope):
                    raise self.fail(stmt, "all lanes of a vector loop store into one element")
            case Accumulate(buffer, index, op, value):
                self.place(stmt, buffer, index, scope)
                if op not in COMBINATIONS:
                    raise self.fail(stmt, f"{op} is none of {sorted(COMBINATIONS)}")
                if buffer.dtype.kind not in scalar.SCALAR_OPS[op].kinds:
                    raise self.fail(stmt, f"{op} does not take {buffer.dtype.name}")
                self.typed(stmt, value, buffer.dtype, "value", scope)
            case Check(holds, code, value, limit):
                self.typed(stmt, holds, dtypes.bool_, "condition", scope)
                self.typed(stmt, value, dtypes.int64, "value", scope)
                self.typed(stmt, limit, dtypes.int64, "limit", scope)
                if code not in DATA_ERRORS:
                    raise self.fail(stmt, f"{code} is no code of a data error")
            case Barrier():
                if Kind.BLOCK not in scope.inside or Kind.THREAD not in scope.inside:
                    raise self.fail(stmt, "a barrier stands outside the threads of a block")
            case Comment(text):
                if "\n" in text:
                    raise self.fail(stmt, "a comment has one line")
            case _:
                assert_never(stmt)

    def lanes_meet(self, buffer: Buffer, index: tuple[Expr, ...], scope: _Scope) -> bool:
        """Tell whether all lanes of the vector loop outside write one element."""
        if scope.lane_count < 2 or buffer in scope.lane_buffers:
            return False
        return not any(scope.lanes & scalar.variables(e) for e in index)

    def loop(self, stmt: For, scope: _Scope) -> None:
        self.claim(stmt.var.name, stmt)
        for bound in (stmt.start, stmt.stop):
            self.typed(stmt, bound, dtypes.int64, "bound", scope)
            if scope.lanes & scalar.variables(bound):
                raise self.fail(stmt, "a bound differs between the lanes of a vector loop")
        if stmt.var.dtype is not dtypes.int64:
            raise self.fail(stmt, f"the variable is {stmt.var.dtype.name}, not i64")
        if stmt.step < 1:
            raise self.fail(stmt, f"the step is {stmt.step}, not positive")
        if "\n" in stmt.comment:
            raise self.fail(stmt, "a comment has one line")
        if Kind.VECTOR in scope.inside and stmt.kind not in (Kind.SERIAL, Kind.UNROLL):
            raise self.fail(stmt, f"a {stmt.kind.value} loop stands inside a vector loop")
        constant = isinstance(stmt.start, Const) and isinstance(stmt.stop, Const)
        inner = replace(
            scope,
            variables=scope.variables | {stmt.var},
            inside=scope.inside | {stmt.kind},
            parallel_allowed=scope.parallel_allowed and stmt.kind is Kind.PARALLEL,
        )
        match stmt.kind:
            case Kind.SERIAL:
                pass
            case Kind.UNROLL:
                if not constant:
                    raise self.fail(stmt, "an unrolled loop has constant bounds")
            case Kind.VECTOR:
                if not constant or stmt.start != scalar.integer(0) or stmt.step != 1:
                    raise self.fail(stmt, "a vector loop runs from 0 to a constant by 1")
                assert isinstance(stmt.stop, Const)
                lanes = frozenset({stmt.var})
                inner = replace(inner, lanes=lanes, lane_count=int(stmt.stop.value))
            case Kind.PARALLEL:
                if not scope.parallel_allowed:
                    raise self.fail(stmt, "a parallel loop stands under more than parallel loops")
            case Kind.BLOCK:
                if scope.inside - {Kind.BLOCK}:
                    raise self.fail(stmt, "a block loop stands inside another kind of loop")
            case Kind.THREAD:
                if Kind.BLOCK not in scope.inside:
                    raise self.fail(stmt, "a thread loop stands outside a block loop")
            case _:
                assert_never(stmt.kind)
        self.block(stmt.body, inner)

    def allocation(self, stmt: Alloc, buffer: Buffer, scope: _Scope) -> None:
        self.claim(buffer.name, stmt)
        self.sized(buffer, stmt)
        match buffer.space:
            case Space.GLOBAL:
                raise self.fail(stmt, "global memory comes through parameters")
            case Space.LOCAL:
                if not dims.is_static(*buffer.shape, *buffer.strides):
                    raise self.fail(stmt, "a local buffer has a constant size")
            case Space.SHARED:
                if Kind.BLOCK not in scope.inside or Kind.THREAD in scope.inside:
                    raise self.fail(stmt, "shared memory belongs to a block, outside its threads")
            case Space.SCRATCH:
                pass
            case _:
                assert_never(buffer.space)
        if Kind.VECTOR in scope.inside and buffer.space is not Space.LOCAL:
            raise self.fail(stmt, "the lanes of a vector loop have local memory alone")

    def sized(self, buffer: Buffer, stmt: Stmt | None) -> None:
        if len(buffer.shape) != len(buffer.strides):
            raise self.fail(stmt, f"{buffer.name} has not one stride a dimension")
        for extent in (*buffer.shape, *buffer.strides):
            unknown = dims.symbols(extent) - set(self.kernel.sizes)
            if unknown:
                raise self.fail(stmt, f"{buffer.name} depends on unknown sizes {sorted(unknown)}")

    def place(self, stmt: Stmt, buffer: Buffer, index: tuple[Expr, ...], scope: _Scope) -> None:
        self.element(stmt, buffer, index, scope)
        if buffer.space is Space.GLOBAL and buffer.name not in self.kernel.written:
            raise self.fail(stmt, f"{buffer.name} is not among the written parameters")

    def element(self, stmt: Stmt, buffer: Buffer, index: tuple[Expr, ...], scope: _Scope) -> None:
        if buffer not in scope.buffers:
            raise self.fail(stmt, f"{buffer.name} has no memory here")
        if len(index) != len(buffer.shape):
            raise self.fail(
                stmt, f"{buffer.name} has {len(buffer.shape)} dimensions, {len(index)} indices"
            )
        for expr in index:
            self.typed(stmt, expr, dtypes.int64, "index", scope)

    def typed(self, stmt: Stmt, expr: Expr, dtype: dtypes.DType, role: str, scope: _Scope) -> None:
        if expr.dtype is not dtype:
            raise self.fail(stmt, f"the {role} is {expr.dtype.name}, not {dtype.name}")
        self.expression(stmt, expr, scope)

    def expression(self, stmt: Stmt, expr: Expr, scope: _Scope) -> None:
        seen: set[int] = set()
        stack = [expr]
        while stack:
            found = stack.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            stack.extend(scalar.children(found))
            match found:
                case Var(name, dtype):
                    if found not in scope.variables:
                        raise self.fail(stmt, f"{name} ({dtype.name}) is not bound here")
                case Load(buffer, index):
                    self.element(stmt, buffer, index, scope)
                case Apply(op, args, dtype):
                    self.operation(stmt, op, args, dtype)
                case Read(reader, _):
                    raise self.fail(stmt, f"reader {reader} belongs in a stage")
                case Const():
                    pass

    def operation(self, stmt: Stmt, op: str, args: tuple[Expr, ...], dtype: dtypes.DType) -> None:
        if op not in scalar.SCALAR_OPS:
            raise self.fail(stmt, f"there is no operation {op}")
        try:
            expected = scalar.apply(op, *args, dtype=dtype).dtype
        except AssertionError as error:
            raise self.fail(stmt, str(error)) from error
        if expected is not dtype:
            raise self.fail(stmt, f"{op} gives {expected.name}, not {dtype.name}")
