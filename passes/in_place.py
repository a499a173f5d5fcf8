"""Let a kernel write over an operand: when it may, and the kernel that does. Loop IR to loop IR.

for i in serial(0, 8):                     for i in serial(0, 8):
y[i] = exp(x[i])             →             y[i] = exp(y[i])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from smelt.ir import scalar
from smelt.ir.loop.builder import Names, bound_names
from smelt.ir.loop.grammar import (
    Accumulate,
    Branch,
    Buffer,
    Check,
    For,
    If,
    Kernel,
    Launch,
    Let,
    Program,
    Step,
    Stmt,
    Store,
    While,
    bodies,
    expressions,
    walk,
)
from smelt.ir.scalar import Expr, Load, Var

Roots = frozenset[Var]
MapLaunch = Callable[[int, Launch], Launch]


def map_launches(steps: Iterable[Step], function: MapLaunch) -> tuple[Step, ...]:
    """Return steps with `function` applied to each launch, given its position."""
    counter = [0]

    def visit(block: Iterable[Step]) -> tuple[Step, ...]:
        result: list[Step] = []
        for step in block:
            counter[0] += 1
            match step:
                case Launch():
                    result.append(function(counter[0], step))
                case Branch(condition, body, orelse):
                    result.append(Branch(condition, visit(body), visit(orelse)))
                case While(test, condition, body):
                    test = visit(test)
                    result.append(While(test, condition, visit(body)))
                    counter[0] += 1
        return tuple(result)

    return visit(steps)


def launches(steps: Iterable[Step]) -> list[tuple[int, Launch]]:
    """Return the launches of a program with their positions."""
    found: list[tuple[int, Launch]] = []

    def note(position: int, step: Launch) -> Launch:
        found.append((position, step))
        return step

    map_launches(steps, note)
    return found


def may_share(kernel: Kernel, read: int, written: int) -> bool:
    """Tell whether two parameters of a kernel may be one: elements are read before being written.

    That holds where every load of the one is at the very index of a store to the other, in the
    same iteration of all loops around, and not after it. (Kernels store each element once.)
    """
    source, target = kernel.params[read], kernel.params[written]
    if source.name in kernel.written or source.dtype is not target.dtype:
        return False
    if source.shape != target.shape or source.strides != target.strides:
        return False
    stores = [s for s in walk(kernel.body) if _writes(s, target)]
    places = {s.index for s in stores if isinstance(s, Store)}
    if not places or not all(isinstance(s, Store) for s in stores):
        return False
    if not _depend_on_all_loops(kernel.body, target):
        return False
    stored: set[tuple[Expr, ...]] = set()
    for stmt in walk(kernel.body):
        for expr in expressions(stmt):
            for part in scalar.walk(expr):
                if not isinstance(part, Load):
                    continue
                if part.buffer is target:
                    return False
                if part.buffer is source and (part.index in stored or part.index not in places):
                    return False
        if isinstance(stmt, Store) and stmt.buffer is target:
            stored.add(stmt.index)
    return True


def _writes(stmt: Stmt, buffer: Buffer) -> bool:
    return isinstance(stmt, Store | Accumulate) and stmt.buffer is buffer


def _depend_on_all_loops(body: tuple[Stmt, ...], target: Buffer) -> bool:
    """Tell whether the index of each store to a buffer changes with every loop around it."""

    def visit(block: tuple[Stmt, ...], loops: frozenset[Var], known: Mapping[Var, Roots]) -> bool:
        for stmt in block:
            match stmt:
                case For(var=var):
                    if not visit(stmt.body, loops | {var}, {**known, var: frozenset({var})}):
                        return False
                case Let(var, value, inner):
                    if not visit(inner, loops, {**known, var: _roots((value,), known)}):
                        return False
                case Store(buffer, index, _) if buffer is target:
                    if not loops <= _roots(index, known):
                        return False
                case _:
                    if not all(visit(inner, loops, known) for inner in bodies(stmt)):
                        return False
        return True

    return visit(body, frozenset(), {})


def _roots(exprs: Iterable[Expr], known: Mapping[Var, Roots]) -> Roots:
    """Return the loops on which expressions depend, through what is bound on the way."""
    found: Roots = frozenset()
    for expr in exprs:
        for variable in scalar.variables(expr):
            found |= known.get(variable, frozenset())
    return found


class Variants:
    """Makes kernels in which two parameters are one, each once."""

    def __init__(self, program: Program) -> None:
        self.kernels = {k.name: k for k in program.kernels}
        self.names = Names(self.kernels)
        self.made: dict[tuple[str, int, int], str] = {}

    def merged(self, step: Launch, read: int, written: int) -> Launch:
        """Return a launch that writes parameter `written` over parameter `read`."""
        key = (step.kernel, read, written)
        name = self.made.get(key)
        if name is None:
            kernel = self.kernels[step.kernel]
            stem = kernel.name.partition("_over")[0]
            name = self.made[key] = self.names.fresh(f"{stem}_over")
            self.kernels[name] = _merged(kernel, name, read, written)
        places = tuple(p for k, p in enumerate(step.places) if k != read)
        return Launch(name, places)

    def kernels_of(self, program: Program) -> tuple[Kernel, ...]:
        """Return the kernels that a program launches, in order of their first launch."""
        used = dict.fromkeys(step.kernel for _, step in launches((*program.derive, *program.steps)))
        return tuple(self.kernels[name] for name in used)


def _merged(kernel: Kernel, name: str, read: int, written: int) -> Kernel:
    source, target = kernel.params[read], kernel.params[written]

    def expression(expr: Expr) -> Expr:
        changed = scalar.rebuild(expr, expression)
        if isinstance(changed, Load) and changed.buffer is source:
            return Load(target, changed.index)
        return changed

    def visit(stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                return replace(stmt, body=tuple(visit(s) for s in stmt.body))
            case If(condition, body, orelse):
                return If(
                    expression(condition), tuple(visit(s) for s in body),
                    tuple(visit(s) for s in orelse),
                )  # fmt: skip
            case Let(var, value, body):
                return Let(var, expression(value), tuple(visit(s) for s in body))
            case Store(buffer, index, value):
                return Store(buffer, index, expression(value))
            case Accumulate(buffer, index, op, value):
                return Accumulate(buffer, index, op, expression(value))
            case Check(holds, code, value, limit):
                return Check(expression(holds), code, expression(value), expression(limit))
            case _:
                inner = bodies(stmt)
                return stmt if not inner else replace(stmt, body=tuple(visit(s) for s in inner[0]))

    assert source.name not in bound_names(kernel.body), "parameters are bound by the kernel alone"
    return replace(
        kernel,
        name=name,
        params=tuple(p for k, p in enumerate(kernel.params) if k != read),
        body=tuple(visit(s) for s in kernel.body),
    )
