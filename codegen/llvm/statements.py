"""Emit the statements of a kernel's body."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from smelt.codegen.llvm import arithmetic, lanes, loops, memory
from smelt.codegen.llvm.expressions import Known, evaluate, offset
from smelt.codegen.llvm.scope import Frame, Memory, Scope, private
from smelt.codegen.llvm.values import (
    Linear,
    Operand,
    Value,
    integer_constant,
    mangled,
)
from smelt.ir.dtypes import Kind as NumberKind
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Buffer,
    Check,
    Comment,
    For,
    If,
    Let,
    Space,
    Stmt,
    Store,
)
from smelt.ir.scalar import Apply, Expr

FAIL = "smelt.fail"
"""Internal function `void (context, i64 code, i64 value, i64 limit)` that records a data error."""


def emit_body(frame: Frame, scope: Scope, body: tuple[Stmt, ...]) -> None:
    """Write statements, in order."""
    for stmt in body:
        emit(frame, scope, stmt)


def emit(frame: Frame, scope: Scope, stmt: Stmt) -> None:
    """Write one statement."""
    match stmt:
        case For():
            loops.emit_for(frame, scope, stmt, emit_body)
        case If():
            _emit_if(frame, scope, stmt)
        case Let(var, value, body):
            bound = evaluate(frame, scope, value)
            emit_body(frame, scope.bind(var.name, bound), body)
        case Alloc(buffer, body):
            emit_body(frame, _allocated(frame, scope, buffer), body)
        case Store(buffer, index, value):
            known: Known = {}
            stored = evaluate(frame, scope, value, known)
            place = offset(frame, scope, buffer, index, known)
            memory.store(frame.w, scope, buffer, scope.memory[buffer], place, stored)
        case Accumulate():
            _emit_accumulate(frame, scope, stmt)
        case Check():
            _emit_check(frame, scope, stmt)
        case Barrier():
            # The threads of a block run as lanes, in lockstep: all of them are here.
            frame.w.comment("barrier")
        case Comment(text):
            frame.w.comment(text)
        case _:
            assert_never(stmt)


def _emit_if(frame: Frame, scope: Scope, stmt: If) -> None:
    w = frame.w
    condition = w.value(evaluate(frame, scope, stmt.condition))
    if condition.text in ("true", "false"):
        emit_body(frame, scope, stmt.body if condition.text == "true" else stmt.orelse)
        return
    if condition.lanes:
        emit_body(frame, scope.masked(w, condition), stmt.body)
        if stmt.orelse:
            emit_body(frame, scope.masked(w, w.negation(condition)), stmt.orelse)
        return
    yes, done = w.name("then"), w.name("endif")
    no = w.name("else") if stmt.orelse else done
    w.branch(condition, yes, no)
    w.label(yes)
    emit_body(frame, scope, stmt.body)
    w.jump(done)
    if stmt.orelse:
        w.label(no)
        emit_body(frame, scope, stmt.orelse)
        w.jump(done)
    w.label(done)


def _allocated(frame: Frame, scope: Scope, buffer: Buffer) -> Scope:
    copies = private(buffer, scope)
    count = memory.elements(buffer.shape, buffer.strides) * max(copies, 1)
    size = max(count * buffer.dtype.itemsize, 1)
    match buffer.space:
        case Space.LOCAL | Space.SHARED:
            room = memory.stack_bytes(buffer, copies)
            return scope.place(buffer, Memory(frame.w.stack(room, buffer.name), copies))
        case Space.SCRATCH:
            start = integer_constant(scope.scratch)
            pointer = frame.w.offset(frame.worker_scratch, "i8", start)
            end = scope.scratch + -(-size // 64) * 64
            frame.usage.scratch_bytes = max(frame.usage.scratch_bytes, end)
            return replace(scope.place(buffer, Memory(pointer, copies)), scratch=end)
        case Space.GLOBAL:
            raise AssertionError(f"global buffer {buffer.name} is allocated inside a kernel")
        case _:
            assert_never(buffer.space)


def _emit_accumulate(frame: Frame, scope: Scope, stmt: Accumulate) -> None:
    """Combine into an element; lanes that share the element are combined first."""
    w, buffer, dtype = frame.w, stmt.buffer, stmt.buffer.dtype
    known: Known = {}
    place = offset(frame, scope, buffer, stmt.index, known)
    if place.lanes == scope.lanes:
        _combine(frame, scope, stmt, place, stmt.value, known)
        return
    value = w.spread(evaluate(frame, scope, stmt.value, known), scope.lanes)
    if scope.mask is not None:
        value = w.select(scope.mask, value, lanes.identity(stmt.op, dtype))
    outer = replace(scope, lanes=place.lanes, mask=memory.under_mask_of(w, scope, place.lanes))
    there = scope.memory[buffer]
    ordered = not w.reassociate and dtype.kind is NumberKind.FLOAT and stmt.op in ("add", "mul")
    if ordered and not place.lanes and not dtype.is_half:
        old = memory.load(w, outer, buffer, there, place)
        name = f"llvm.vector.reduce.f{stmt.op}.{mangled(value.element, value.lanes)}"
        new = w.call(name, value.element, 0, (old, value))
        memory.store(w, outer, buffer, there, place, new)
        return
    combined = lanes.reduced(w, stmt.op, value, place.lanes, dtype)
    old = memory.load(w, outer, buffer, there, place)
    new = arithmetic.apply(w, stmt.op, (old, combined), dtype, dtype)
    memory.store(w, outer, buffer, there, place, new)


def _combine(
    frame: Frame, scope: Scope, stmt: Accumulate, place: Operand, expr: Expr, known: Known
) -> None:
    w, buffer, dtype = frame.w, stmt.buffer, stmt.buffer.dtype
    there = scope.memory[buffer]
    full_float = dtype.kind is NumberKind.FLOAT and not dtype.is_half
    match expr:
        case Apply("mul", (a, b), _) if stmt.op == "add" and full_float and w.contract:
            x, y = (w.value(evaluate(frame, scope, e, known)) for e in (a, b))
            old = memory.load(w, scope, buffer, there, place)
            new: Operand = w.intrinsic("fmuladd", x, y, old)
        case _:
            value = evaluate(frame, scope, expr, known)
            old = memory.load(w, scope, buffer, there, place)
            new = arithmetic.apply(w, stmt.op, (old, value), dtype, dtype)
    memory.store(w, scope, buffer, there, place, new)


def _emit_check(frame: Frame, scope: Scope, stmt: Check) -> None:
    """Leave the function where the condition fails in an active lane, with the first such lane."""
    w = frame.w
    known: Known = {}
    holds = w.value(evaluate(frame, scope, stmt.holds, known))
    if holds.text == "true":
        return
    failed = w.negation(holds)
    if scope.lanes and (failed.lanes or scope.mask is not None):
        failed = w.spread(failed, scope.lanes)
        active = w.both(failed, scope.mask)
        failed = failed if active is None else active
    value = evaluate(frame, scope, stmt.value, known)
    limit = evaluate(frame, scope, stmt.limit, known)
    fail, on = w.name("fail"), w.name("checked")
    w.branch(w.any_lane(failed), fail, on)
    w.label(fail)
    if failed.lanes:
        bits = w.emit(f"bitcast {failed.typed} to i{failed.lanes}", f"i{failed.lanes}")
        name = f"llvm.cttz.i{failed.lanes}"
        first = w.call(name, bits.element, 0, (bits, Value("true", "i1")))
        position = w.resize(first, "i64", signed=False)
        value, limit = (_of_lane(frame, v, failed.lanes, position) for v in (value, limit))
    reported = ", ".join(w.value(v).typed for v in (integer_constant(stmt.code), value, limit))
    w.line(f"call void @{FAIL}(ptr %context, {reported})")
    w.line("ret void")
    w.label(on)


def _of_lane(frame: Frame, operand: Operand, count: int, position: Value) -> Value:
    if isinstance(operand, Linear) or operand.lanes:
        return frame.w.lane(frame.w.spread(operand, count), position)
    return operand
