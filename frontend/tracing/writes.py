"""Writes under capture: what the contents of a storage are afterwards, and whose history they have.

A write that the tape sees gives every tensor of the family its history; one that it does not see
(under `no_grad`, through `detach()` or `.data`) changes elements and leaves the history as it was.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from smelt.autograd.tape import requires
from smelt.base import TensorBase
from smelt.ir.layout import Layout
from smelt.state import mode
from smelt.tracing.cells import Cell
from smelt.tracing.nodes import TracedNode
from smelt.tracing.steps import WriteEvent

if TYPE_CHECKING:
    from smelt.tensor import Tensor
    from smelt.tracing.recorder import Recorder


def write(recorder: Recorder, target: Tensor, value: Tensor) -> None:
    """Append the overwriting of `target` by `value`, which has its shape and dtype."""
    slot = recorder.slot(value)
    recorder.slot(target)
    handle = target._trace
    cell = handle.cell
    layout = handle.layout
    _check(cell, target)
    tracked = value._requires_grad and mode.grad
    own = slot  # what `target` holds, should its history be its own
    if handle.apart or not mode.grad:
        if value._requires_grad:
            slot = recorder.raw("detach", (slot,))
        if cell.taped:
            slot = _overwrite(recorder, cell, layout, slot)
    if cell.root_layout != layout:
        whole = recorder.flatten(cell)
        slot_after = recorder.scatter(whole, slot, cell, layout)
        root = cell.whole()
    elif len(cell.inputs) > 1 and cell.version == 0:
        # Other views of this storage are known as inputs of their own: write to the whole.
        slot_after = recorder.scatter(recorder.flatten(cell), slot, cell, layout)
        root = cell.whole()
    else:
        slot_after, root = slot, layout
    event = WriteEvent(cell.index, slot_after, root)
    recorder.follow(("write", cell.index, slot_after, root), lambda: (event, ()))
    if cell.existing is not None and cell.version == 0:
        cell.existing.pending = recorder
    cell.put(slot_after, root)
    cell.views[layout] = slot
    if tracked and handle.apart:
        handle.slot, handle.version = own, cell.version
    elif not cell.gradual or requires(target):
        handle.slot, handle.version = slot, cell.version
    counter = target._version_counter
    if cell.existing is not None:
        recorder.undo.append(partial(setattr, counter, "value", counter.value))
    counter.value += 1
    if tracked:
        cell.gradual = True
        cell.taped = cell.taped or not handle.apart
        _rebase(recorder, cell, target)
    elif target._node is None and target._requires_grad:
        recorder.leaves[slot] = target


def _check(cell: Cell, target: Tensor) -> None:
    """Refuse a write that eager execution refuses."""
    if mode.grad and target._trace.of_leaf:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place "
            "operation: write under no_grad(), or to a clone()"
        )
    if cell.existing is not None and cell.version == 0:
        memory = cell.existing.memory
        if memory is not None and not memory.flags.writeable:
            raise ValueError("assignment destination is read-only")


def _overwrite(recorder: Recorder, cell: Cell, layout: Layout, slot: int) -> int:
    """Return a value that is written without the tape: the history stays that of before."""
    if cell.root_layout == layout:
        before = cell.root_slot
    else:
        before = recorder.strided(recorder.flatten(cell), cell, layout)
    return recorder.raw("overwrite", (before, slot))


def _rebase(recorder: Recorder, cell: Cell, target: Tensor) -> None:
    """Let every view of a storage require grad, as its contents now do."""
    views: list[TensorBase] = []
    if not target._trace.apart:
        views = [t for ref, c in recorder.made if c is cell and (t := ref()) is not None]
        if cell.existing is not None:
            views += [t for t in recorder.found() if t._own_storage is cell.existing]
        views = [t for t in views if t._trace.cell is cell and not t._trace.apart]
    for tensor in (*views, target):
        if tensor._node is None:
            recorder.preserve(tensor)
            tensor._requires_grad = True
            tensor._node = TracedNode("copy_slices")
