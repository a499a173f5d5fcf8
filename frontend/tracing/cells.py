"""Functionalisation: which value a storage holds at each moment of a recording.

Graphs have values, programs have memory. A `Cell` stands for one storage while a program is
recorded: it knows the slot of the current contents, and of each view of them that was read or
written since they last changed. A write gives the cell new contents; views that are read later are
derived from those.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from smelt.ir.layout import Layout, row_major

if TYPE_CHECKING:
    from smelt.storage import Storage


class Cell:
    """The contents of one storage during a recording.

    Layouts are kept relative to the first view that was met, so that the same program serves a
    batch wherever it begins in its storage.

    Attributes:
        index: number of the storage among those met.
        existing: the storage, if it was there before; None if it is created by the recording.
        created: weak reference to the storage that the recording creates.
        base: offset in the storage to which layouts are relative.
        version: how often it was written.
        root_slot: slot of the current contents.
        root_layout: which part of the storage they cover: all of a created storage; of an
            existing one, the part that is known so far.
        views: slot of each layout whose current value is known, the root's included.
        inputs: layouts under which an existing storage is an input.
        gradual: whether a tensor that sees the contents requires grad.
        taped: whether the contents have a history.
        family: version counter of an existing storage's tensors, but for those apart.
    """

    __slots__ = (
        "base",
        "created",
        "existing",
        "family",
        "gradual",
        "index",
        "inputs",
        "root_layout",
        "root_slot",
        "taped",
        "version",
        "views",
    )

    def __init__(self, index: int, slot: int, layout: Layout) -> None:
        self.index = index
        self.existing: Storage | None = None
        self.created: weakref.ref[Storage] | None = None
        self.base = 0
        self.version = 0
        self.root_slot = slot
        self.root_layout = layout
        self.views: dict[Layout, int] = {layout: slot}
        self.inputs: list[Layout] = []
        self.gradual = False
        self.taped = False
        self.family: Any = None

    @property
    def size(self) -> int:
        """Number of elements of the storage."""
        # A created storage is covered whole from the start, and roots only ever grow to the whole.
        return self.root_layout.size if self.existing is None else self.existing.size

    @property
    def written(self) -> bool:
        """Whether a storage that was there before has new contents."""
        return self.existing is not None and self.version > 0

    def relative(self, layout: Layout) -> Layout:
        """Return a layout relative to `base`."""
        if self.base == 0:
            return layout
        return Layout(layout.offset - self.base, layout.sizes, layout.strides)

    def absolute(self, layout: Layout) -> Layout:
        """Return a layout of this cell as one of its storage."""
        if self.base == 0:
            return layout
        return Layout(layout.offset + self.base, layout.sizes, layout.strides)

    def whole(self) -> Layout:
        """Return the layout of the whole storage as one dimension."""
        flat = row_major((self.size,))
        return self.relative(flat)

    def put(self, slot: int, layout: Layout) -> None:
        """Take the value of `slot` as the contents of the part that `layout` covers."""
        self.version += 1
        self.root_slot = slot
        self.root_layout = layout
        self.views = {layout: slot}


class Handle:
    """What a tensor is to a recording: a view of a cell, and the slot of its value.

    Attributes:
        recorder: serial number of the recording that it belongs to.
        cell: the contents of its storage.
        slot: slot of its value at `version`.
        version: version of the cell for which `slot` holds.
        layout: the tensor's layout, relative to the cell's base.
        apart: whether its history is another than that of the tensors it shares memory with, as
            after `detach()`.
        of_leaf: whether it is a view of a leaf that requires grad.
    """

    __slots__ = ("apart", "cell", "layout", "of_leaf", "recorder", "slot", "version")

    def __init__(
        self, recorder: int, cell: Cell, slot: int, layout: Layout, apart: bool = False
    ) -> None:
        self.recorder = recorder
        self.cell = cell
        self.slot = slot
        self.version = cell.version
        self.layout = layout
        self.apart = apart
        self.of_leaf = False
