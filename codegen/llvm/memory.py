"""Loads, stores and their masks: how an element that each lane wants becomes an instruction.

Let `offset` be the element's number in memory. If it is the same in all lanes the access is scalar;
if it is `Linear` with stride 1 (or -1) it is one vector access (with its lanes reversed); else it
is a gather or a scatter. What is masked off is not touched.
"""

from __future__ import annotations

from typing import TypeGuard

from smelt.codegen.llvm import integers
from smelt.codegen.llvm.lanes import reduced
from smelt.codegen.llvm.scope import Memory, Scope
from smelt.codegen.llvm.values import (
    ZERO,
    Linear,
    Operand,
    Value,
    integer_constant,
    is_float,
    mangled,
    memory_type,
    vector_type,
)
from smelt.codegen.llvm.writer import Writer
from smelt.ir import dtypes
from smelt.ir.dtypes import DType, Kind
from smelt.ir.loop.grammar import Buffer, Space
from smelt.ir.types import Shape


def elements(shape: Shape, strides: Shape) -> int:
    """Return the number of elements that a buffer of constant size spans."""
    if any(extent == 0 for extent in shape):
        return 0
    last = 0
    for extent, stride in zip(shape, strides):
        assert isinstance(extent, int) and isinstance(stride, int), "a buffer of varying size"
        last += (extent - 1) * stride
    return last + 1


def element_offset(
    w: Writer, scope: Scope, index: tuple[Operand, ...], strides: tuple[Operand, ...], copies: int
) -> Operand:
    """Return the number of the element at `index`, counted in memory.

    Args:
        w: where it is computed.
        scope: the lanes around.
        index: one i64 a dimension.
        strides: steps in elements, one i64 a dimension.
        copies: number of lanes that have a copy each, 0 for a buffer that all lanes share.
    """
    total: Operand = ZERO
    for position, stride in zip(index, strides):
        total = integers.add(w, total, integers.mul(w, position, stride))
    if not copies:
        return total
    own: Operand = Linear(ZERO, 1, copies)
    if copies != scope.lanes:
        own = w.spread(own, scope.lanes)
    return integers.add(w, integers.mul(w, total, integer_constant(copies)), own)


def load(w: Writer, scope: Scope, buffer: Buffer, memory: Memory, offset: Operand) -> Value:
    """Return the element at `offset`, for each lane; inactive lanes get zero."""
    element = memory_type(buffer.dtype)
    unmasked = scope.mask is None or _always_valid(buffer, memory, offset)
    size = buffer.dtype.itemsize
    if _is_row(offset) and (unmasked or offset.lanes == scope.lanes):
        return _load_row(w, scope, buffer, memory, offset, unmasked=unmasked)
    if isinstance(offset, Value) and not offset.lanes:
        at = w.offset(memory.pointer, element, offset, inbounds=unmasked)
        if not unmasked:
            at = _or_nowhere(w, scope, at)
        found = w.emit(f"load {element}, {at.typed}, align {size}", element, 0, buffer.name)
        return _from_memory(w, found, buffer.dtype)
    lanes = offset.lanes if unmasked else scope.lanes
    pointers = _pointers(w, memory.pointer, element, w.spread(offset, lanes))
    mask = w.spread(Value("true", "i1") if unmasked or scope.mask is None else scope.mask, lanes)
    kind = f"{mangled(element, lanes)}.{mangled('ptr', lanes)}"
    zero = Value("zeroinitializer", element, lanes)
    align = Value(str(size), "i32")
    operands = (pointers, align, mask, zero)
    found = w.call(f"llvm.masked.gather.{kind}", element, lanes, operands)
    return _from_memory(w, found, buffer.dtype)


def _load_row(
    w: Writer, scope: Scope, buffer: Buffer, memory: Memory, offset: Linear, *, unmasked: bool
) -> Value:
    element, size, lanes = memory_type(buffer.dtype), buffer.dtype.itemsize, offset.lanes
    backwards = offset.stride < 0
    first = _row_start(w, offset)
    at = w.offset(memory.pointer, element, first, inbounds=unmasked)
    if unmasked:
        wide = vector_type(element, lanes)
        found = w.emit(f"load {wide}, {at.typed}, align {size}", element, lanes, buffer.name)
    else:
        mask = _row_mask(w, scope, lanes, backwards=backwards)
        zero = Value("zeroinitializer", element, lanes)
        operands = (at, Value(str(size), "i32"), mask, zero)
        name = f"llvm.masked.load.{mangled(element, lanes)}.p0"
        found = w.call(name, element, lanes, operands)
    if backwards:
        found = w.shuffle(found, list(reversed(range(lanes))))
    return _from_memory(w, found, buffer.dtype)


def store(
    w: Writer, scope: Scope, buffer: Buffer, memory: Memory, offset: Operand, value: Operand
) -> None:
    """Write `value` at `offset`, for each active lane; of lanes that meet, the last one wins."""
    element, size = memory_type(buffer.dtype), buffer.dtype.itemsize
    safe = _always_valid(buffer, memory, offset)
    mask = scope.mask
    if _is_row(offset) and offset.lanes == scope.lanes:
        if mask is not None and safe:
            value = w.select(mask, value, load(w, scope, buffer, memory, offset))
            mask = None
        _store_row(w, scope, buffer, memory, offset, value, mask)
        return
    if isinstance(offset, Value) and not offset.lanes and (mask is None or not value.lanes):
        if mask is not None and safe:
            active = w.any_lane(mask)
            value = w.select(active, value, load(w, scope, buffer, memory, offset))
            mask = None
        at = w.offset(memory.pointer, element, offset, inbounds=mask is None)
        if mask is not None:
            at = _or_nowhere(w, scope, at)
        single = w.value(value)
        if single.lanes:
            single = w.lane(single, single.lanes - 1)
        single = _to_memory(w, single, buffer.dtype)
        w.line(f"store {single.typed}, {at.typed}, align {size}")
        return
    lanes = scope.lanes
    stored = _to_memory(w, w.spread(value, lanes), buffer.dtype)
    pointers = _pointers(w, memory.pointer, element, w.spread(offset, lanes))
    active = w.spread(Value("true", "i1") if mask is None else mask, lanes)
    kind = f"{mangled(element, lanes)}.{mangled('ptr', lanes)}"
    w.perform(f"llvm.masked.scatter.{kind}", stored, pointers, Value(str(size), "i32"), active)


def _store_row(
    w: Writer,
    scope: Scope,
    buffer: Buffer,
    memory: Memory,
    offset: Linear,
    value: Operand,
    mask: Value | None,
) -> None:
    element, size, lanes = memory_type(buffer.dtype), buffer.dtype.itemsize, offset.lanes
    row = _to_memory(w, w.spread(value, lanes), buffer.dtype)
    backwards = offset.stride < 0
    if backwards:
        row = w.shuffle(row, list(reversed(range(lanes))))
    at = w.offset(memory.pointer, element, _row_start(w, offset), inbounds=mask is None)
    if mask is None:
        w.line(f"store {row.typed}, {at.typed}, align {size}")
        return
    active = _row_mask(w, scope, lanes, backwards=backwards)
    if not is_float(element) and size < 8:
        active = _unforeseen(w, memory.pointer, active)
    name = f"llvm.masked.store.{mangled(element, lanes)}.p0"
    w.perform(name, row, at, Value(str(size), "i32"), active)


def _unforeseen(w: Writer, pointer: Value, mask: Value) -> Value:
    """Return `mask` as LLVM cannot know it.

    LLVM 20 stores a truncated vector under a constant mask of one lane at the width from before the
    truncation (X86, AVX-512), over the neighbours. The sign of an address is never set.
    """
    address = w.emit(f"ptrtoint {pointer.typed} to i64", "i64", 0, "address")
    never = w.compare("slt", address, ZERO)
    return w.binary("or", mask, w.spread(never, mask.lanes))


def under_mask_of(w: Writer, scope: Scope, lanes: int) -> Value | None:
    """Return the mask for an access of fewer lanes: active where any of its lanes is."""
    if scope.mask is None or scope.mask.lanes <= lanes:
        return scope.mask
    return reduced(w, "or", w.spread(scope.mask, scope.lanes), lanes, dtypes.bool_)


def _is_row(offset: Operand) -> TypeGuard[Linear]:
    """Tell whether neighbouring lanes access neighbouring elements."""
    return isinstance(offset, Linear) and offset.stride in (1, -1)


def _row_start(w: Writer, offset: Linear) -> Value:
    if offset.stride > 0:
        return offset.base
    return w.value(integers.sub(w, offset.base, integer_constant(offset.lanes - 1)))


def _row_mask(w: Writer, scope: Scope, lanes: int, *, backwards: bool) -> Value:
    assert scope.mask is not None
    mask = w.spread(scope.mask, lanes)
    return w.shuffle(mask, list(reversed(range(lanes)))) if backwards else mask


def stack_bytes(buffer: Buffer, copies: int) -> int:
    """Return the size of a LOCAL buffer: whole vector registers, so that the last one is whole."""
    count = elements(buffer.shape, buffer.strides) * max(copies, 1)
    return max(-(-count * buffer.dtype.itemsize // 64) * 64, 64)


def _always_valid(buffer: Buffer, memory: Memory, offset: Operand) -> bool:
    """Tell whether an access may be made by inactive lanes too: a known place on the stack.

    Such accesses become registers, which a masked one would prevent.
    """
    if buffer.space is not Space.LOCAL:
        return False
    base = offset.base if isinstance(offset, Linear) else offset
    if base.known is None:
        return False
    if isinstance(offset, Value):
        first = last = base.known
    elif offset.stride in (1, -1):
        ends = (base.known, base.known + (offset.lanes - 1) * offset.stride)
        first, last = min(ends), max(ends)
    else:
        return False
    # Inactive lanes may lie past the elements, but must not lie past the memory.
    return first >= 0 and (last + 1) * buffer.dtype.itemsize <= stack_bytes(buffer, memory.lanes)


def _or_nowhere(w: Writer, scope: Scope, at: Value) -> Value:
    """Return the address if any lane is active, else that of eight bytes of no importance."""
    assert scope.mask is not None
    return w.select(w.any_lane(scope.mask), at, w.nowhere())


def _pointers(w: Writer, base: Value, element: str, index: Value) -> Value:
    return w.emit(f"getelementptr {element}, {base.typed}, {index.typed}", "ptr", index.lanes, "at")


def _from_memory(w: Writer, value: Value, dtype: DType) -> Value:
    if dtype.kind is not Kind.BOOL:
        return value
    return w.compare("ne", value, integer_constant(0, "i8"))


def _to_memory(w: Writer, value: Value, dtype: DType) -> Value:
    return w.resize(value, "i8", signed=False) if dtype.kind is Kind.BOOL else value
