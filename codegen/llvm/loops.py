"""Emit the loops of a kernel, by kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from smelt.codegen.llvm import integers
from smelt.codegen.llvm.control import counted_loop
from smelt.codegen.llvm.expressions import evaluate, scalar
from smelt.codegen.llvm.outline import emit_parallel
from smelt.codegen.llvm.scope import Frame, Scope
from smelt.codegen.llvm.values import Linear, Operand, Value, integer_constant
from smelt.ir.loop.grammar import For, Kind, Stmt

EmitBody = Callable[[Frame, Scope, tuple[Stmt, ...]], None]


@dataclass(frozen=True)
class _Bounds:
    """Bounds of a loop, computed."""

    start: Operand
    stop: Operand


def emit_for(frame: Frame, scope: Scope, loop: For, emit_body: EmitBody) -> None:
    """Write a loop."""
    if loop.comment:
        frame.w.comment(loop.comment)
    match loop.kind:
        case Kind.PARALLEL | Kind.BLOCK:
            if frame.outlines and not scope.lanes:
                emit_parallel(frame, scope, loop, emit_body)
            else:
                _emit_serial(frame, scope, loop, emit_body)
        case Kind.SERIAL:
            _emit_serial(frame, scope, loop, emit_body)
        case Kind.UNROLL:
            for number in _constant_range(frame, scope, loop):
                inner = scope.bind(loop.var.name, integer_constant(number))
                emit_body(frame, inner, loop.body)
        case Kind.VECTOR | Kind.THREAD:
            _emit_vector(frame, scope, loop, emit_body)
        case _:
            assert_never(loop.kind)


def _constant_range(frame: Frame, scope: Scope, loop: For) -> range:
    start, stop = (scalar(frame, scope, e).known for e in (loop.start, loop.stop))
    assert start is not None and stop is not None, f"{loop.kind} loop over varying bounds"
    return range(start, stop, loop.step)


def _emit_vector(frame: Frame, scope: Scope, loop: For, emit_body: EmitBody) -> None:
    """Make each iteration a lane; in another vector loop, lanes of its lanes."""
    numbers = _constant_range(frame, scope, loop)
    count = len(numbers)
    if count <= 1:
        for number in numbers:
            emit_body(frame, scope.bind(loop.var.name, integer_constant(number)), loop.body)
        return
    if not scope.lanes:
        own: Operand = Linear(integer_constant(numbers.start), loop.step, count)
    else:
        total = scope.lanes * count
        ramp = ", ".join(f"i64 {numbers[lane % count]}" for lane in range(total))
        own = Value(f"<{ramp}>", "i64", total)
    inner = scope.bind(loop.var.name, own)
    emit_body(frame, replace(inner, lanes=own.lanes), loop.body)


def _emit_serial(frame: Frame, scope: Scope, loop: For, emit_body: EmitBody) -> None:
    w = frame.w
    bounds = _Bounds(evaluate(frame, scope, loop.start), evaluate(frame, scope, loop.stop))
    if bounds.start.lanes or bounds.stop.lanes:
        _emit_divergent(frame, scope, loop, bounds, emit_body)
        return
    start, stop = w.value(bounds.start), w.value(bounds.stop)
    first, end = start.known, stop.known
    if first is not None and end is not None and first + loop.step >= end:
        if first < end:
            emit_body(frame, scope.bind(loop.var.name, start), loop.body)
        return
    counted_loop(
        w, loop.var.name, start, stop, loop.step, guarded=first is None or end is None,
        body=lambda var: emit_body(frame, scope.bind(loop.var.name, var), loop.body),
    )  # fmt: skip


def _emit_divergent(
    frame: Frame, scope: Scope, loop: For, bounds: _Bounds, emit_body: EmitBody
) -> None:
    """Run a loop whose bounds differ between lanes until the last lane is done."""
    w = frame.w
    lanes = scope.lanes
    start, stop = w.spread(bounds.start, lanes), w.spread(bounds.stop, lanes)
    before, head, run, done = (
        w.name(f"{p}_{loop.var.name}") for p in ("enter", "for", "do", "end")
    )
    w.jump(before)
    w.label(before)
    w.jump(head)
    w.label(head)
    top = len(w.lines)
    var = Value(f"%{w.name(loop.var.name)}", "i64", lanes)
    active = w.compare("slt", var, stop)
    mask = w.both(active, None if scope.mask is None else w.spread(scope.mask, lanes))
    assert mask is not None
    w.branch(w.any_lane(mask), run, done)
    w.label(run)
    inner = replace(scope.bind(loop.var.name, var), mask=mask)
    emit_body(frame, inner, loop.body)
    following = w.value(integers.add(w, var, integer_constant(loop.step)))
    latch = w.name(f"next_{loop.var.name}")
    w.jump(latch)
    w.label(latch)
    phi = f"phi {var.type} [ {start.text}, %{before} ], [ {following.text}, %{latch} ]"
    w.lines.insert(top, f"  {var.text} = {phi}")
    w.jump(head)
    w.label(done)
