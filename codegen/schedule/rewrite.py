"""Copy and rewrite statements of loop IR: the mechanics under every transformation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

from smelt.ir import dtypes, index, scalar
from smelt.ir.loop.builder import Names
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Buffer,
    Check,
    Comment,
    For,
    If,
    Kind,
    Let,
    Stmt,
    Store,
)
from smelt.ir.scalar import Const, Expr, Load, Var

Body = tuple[Stmt, ...]


def map_expressions(stmt: Stmt, function: Callable[[Expr], Expr]) -> Stmt:
    """Return a statement with `function` applied to its own expressions, not to those inside."""
    match stmt:
        case For(start=start, stop=stop):
            return replace(stmt, start=function(start), stop=function(stop))
        case If(condition=condition):
            return replace(stmt, condition=function(condition))
        case Let(value=value):
            return replace(stmt, value=function(value))
        case Store(_, position, value) | Accumulate(_, position, _, value):
            found = tuple(function(e) for e in position)
            return replace(stmt, index=found, value=function(value))
        case Check(holds, code, value, limit):
            return Check(function(holds), code, function(value), function(limit))
        case Alloc() | Barrier() | Comment():
            return stmt
        case _:
            assert_never(stmt)


def with_bodies(stmt: Stmt, function: Callable[[Body], Body]) -> Stmt:
    """Return a statement with `function` applied to each block inside it."""
    match stmt:
        case For() | Let() | Alloc():
            return replace(stmt, body=function(stmt.body))
        case If():
            return replace(stmt, body=function(stmt.body), orelse=function(stmt.orelse))
        case _:
            return stmt


def substituted(body: Body, values: Mapping[Expr, Expr]) -> Body:
    """Return statements with variables replaced; the names that they bind stay as they are."""

    def visit(stmt: Stmt) -> Stmt:
        changed = map_expressions(stmt, lambda e: scalar.substitute(e, values))
        return with_bodies(changed, lambda b: tuple(visit(s) for s in b))

    return tuple(visit(s) for s in body)


def with_buffers(body: Body, buffers: Mapping[Buffer, Buffer]) -> Body:
    """Return statements that use other buffers of the same rank; allocations stay as they are."""

    def expression(expr: Expr) -> Expr:
        changed = scalar.rebuild(expr, expression)
        if isinstance(changed, Load) and changed.buffer in buffers:
            return Load(buffers[changed.buffer], changed.index)
        return changed

    def visit(stmt: Stmt) -> Stmt:
        changed = map_expressions(stmt, expression)
        if isinstance(changed, Store | Accumulate) and changed.buffer in buffers:
            changed = replace(changed, buffer=buffers[changed.buffer])
        return with_bodies(changed, lambda b: tuple(visit(s) for s in b))

    return tuple(visit(s) for s in body)


def copied(body: Body, names: Names, values: Mapping[Expr, Expr] | None = None) -> Body:
    """Return a second copy of statements: everything that they bind has a fresh name.

    Args:
        body: what to copy.
        names: supply of names of the kernel.
        values: free variables to replace at the same time.
    """
    renamed: dict[Expr, Expr] = dict(values or {})
    buffers: dict[Buffer, Buffer] = {}

    def visit(stmt: Stmt) -> Stmt:
        # A binding is renamed before its body, and after the expressions that it does not cover.
        changed = map_expressions(stmt, lambda e: scalar.substitute(e, renamed))
        match changed:
            case For(var=var) | Let(var=var):
                fresh = names.var(var.name, var.dtype)
                renamed[var] = fresh
                changed = replace(changed, var=fresh)
            case Alloc(buffer=buffer):
                fresh_buffer = replace(buffer, name=names.fresh(buffer.name))
                buffers[buffer] = fresh_buffer
                changed = replace(changed, buffer=fresh_buffer)
            case _:
                pass
        return with_bodies(changed, lambda b: tuple(visit(s) for s in b))

    result = tuple(visit(s) for s in body)
    return with_buffers(result, buffers) if buffers else result


def simplified(body: Body, ranges: index.Ranges) -> Body:
    """Return statements with index expressions and conditions in canonical form.

    Branches that are never taken go, and so do loops that run once or not at all.
    """
    result: list[Stmt] = []
    for stmt in body:
        result.extend(_simplified(stmt, ranges))
    return tuple(result)


def _simplified(stmt: Stmt, known: index.Ranges) -> Body:
    changed = map_expressions(stmt, lambda e: _indices_simplified(e, known))
    match changed:
        case If(Const(value, _), body, orelse):
            return simplified(body if value else orelse, known)
        case For(var, Const(start, _), Const(stop, _), kind, body, step) if (
            kind in (Kind.SERIAL, Kind.UNROLL) and int(stop) <= int(start) + step
        ):
            if int(stop) <= int(start):
                return ()
            return simplified(substituted(body, {var: scalar.integer(int(start))}), known)
        case For(var, start, stop, _, _, step):
            known = {**known, var: index.loop_range(start, stop, known, step)}
        case Let(var, value, body) if var.dtype is dtypes.int64:
            if isinstance(value, Const):
                return simplified(substituted(body, {var: value}), known)
            known = {**known, var: index.bounds(value, known)}
        case _:
            pass
    return (with_bodies(changed, lambda b: simplified(b, known)),)


def _indices_simplified(expr: Expr, ranges: index.Ranges) -> Expr:
    if isinstance(expr, Var | Const):
        return expr
    if expr.dtype is dtypes.int64 and any(isinstance(e, Load) for e in scalar.walk(expr)):
        # Integers from data may wrap: only the indices inside are index arithmetic.
        return scalar.rebuild(expr, lambda e: _indices_simplified(e, ranges))
    return index.simplify(expr, ranges)
