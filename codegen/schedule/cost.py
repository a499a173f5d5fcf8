"""Estimate what statements cost, by the table of `smelt.ir.scalar`."""

from __future__ import annotations

from typing import assert_never

from smelt.codegen.schedule.analysis import constant_extent, expressions
from smelt.ir import scalar
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Check,
    Comment,
    For,
    If,
    Let,
    Stmt,
    Store,
)
from smelt.ir.scalar import SCALAR_OPS, Apply, Cost, Expr, Load

ASSUMED_EXTENT = 128
"""Iterations that a loop of unknown extent is taken to have."""


def expression_cost(expr: Expr) -> int:
    """Return the cost of evaluating an expression; the arithmetic of indices is free."""
    total = 0
    for part in _values(expr):
        match part:
            case Apply(op, _, _):
                total += SCALAR_OPS[op].cost.value
            case Load():
                total += Cost.CHEAP.value
            case _:
                pass
    return total


def _values(expr: Expr) -> list[Expr]:
    """Return the parts of an expression that are no index arithmetic."""
    found: list[Expr] = [expr]
    for part in found:
        if not isinstance(part, Load):
            found.extend(scalar.children(part))
    return found


def work(body: tuple[Stmt, ...]) -> float:
    """Return the cost of running statements once."""
    return sum(_work(stmt) for stmt in body)


def _work(stmt: Stmt) -> float:
    match stmt:
        case For():
            extent = constant_extent(stmt)
            return (ASSUMED_EXTENT if extent is None else extent) * work(stmt.body)
        case If(condition, body, orelse):
            return expression_cost(condition) + max(work(body), work(orelse))
        case Let(_, value, body):
            return expression_cost(value) + work(body)
        case Alloc(_, body):
            return work(body)
        case Store() | Accumulate():
            return 1 + expression_cost(stmt.value)
        case Check():
            return sum(expression_cost(e) for e in expressions(stmt))
        case Barrier() | Comment():
            return 0
        case _:
            assert_never(stmt)


def is_dear(body: tuple[Stmt, ...]) -> bool:
    """Tell whether straight statements evaluate a transcendental function."""
    return work(body) >= Cost.TRANSCENDENTAL.value
