"""What a tensor is: elements in a storage, seen through a layout, with a place on the tape.

`Tensor` (tensor.py) adds the surface that people use; the door (dispatch.py) and the tape need no
more than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.layout import Layout, row_major
from smelt.state import mode
from smelt.storage import Array, Storage

if TYPE_CHECKING:
    from smelt.autograd.node import Node
    from smelt.tensor import Tensor


class Version:
    """How often the elements of a view family were written; shared by the family."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class TensorBase:
    """The state of a tensor. Class attributes are the state of a fresh result.

    Attributes:
        dtype: element type.
        _array: the elements as a NumPy view of the storage; None while they are promised.
        _own_storage: the storage; None until somebody asks, for a fresh result owns its array.
        _own_layout: the layout; None until somebody asks.
        _own_version: the counter of the view family; None until somebody asks.
        _base: the tensor of which this one is a view under autograd, never itself a view.
        _view_version: version of the family at which `_node` of a view was made.
        _requires_grad: whether gradients are wanted. Read `requires_grad` where `_base` is set.
        _node: what made this tensor on the tape; None for a leaf.
        _output_nr: which of the results of `_node` this is.
        _accumulator: weak reference to the node that adds to `.grad` of a leaf.
        _grad: the gradient.
        _hooks: hooks on the gradient of a leaf.
        _post_hooks: hooks that run after the gradient of a leaf was added to.
        _inference: whether it was made in inference mode.
        _trace: what a recording knows of it (tracing/cells.py); None before it met one.
    """

    dtype: DType
    _array: Array | None = None
    _own_storage: Storage | None = None
    _own_layout: Layout | None = None
    _own_version: Version | None = None
    _base: Tensor | None = None
    _view_version: int = 0
    _requires_grad: bool = False
    _node: Node | None = None
    _output_nr: int = 0
    _accumulator: Any = None
    _grad: Tensor | None = None
    _hooks: dict[int, Any] | None = None
    _post_hooks: dict[int, Any] | None = None
    _inference: bool = False
    _trace: Any = None

    @property
    def _storage(self) -> Storage:
        storage = self._own_storage
        if storage is None:
            array = self._array
            assert array is not None, "a tensor has an array or a storage"
            flat = array.reshape(-1) if array.flags.c_contiguous else _flat_span(array)
            storage = self._own_storage = Storage(flat, self.dtype)
        return storage

    @property
    def _layout(self) -> Layout:
        layout = self._own_layout
        if layout is None:
            array = self._array
            assert array is not None, "a tensor has an array or a layout"
            if array.flags.c_contiguous:
                layout = row_major(array.shape)
            else:
                step = array.itemsize
                layout = Layout(0, array.shape, tuple([s // step for s in array.strides]))
            self._own_layout = layout
        return layout

    @property
    def _version_counter(self) -> Version:
        counter = self._own_version
        if counter is None:
            counter = self._own_version = Version()
        return counter

    @property
    def _version(self) -> int:
        """How often the elements were written in place."""
        counter = self._own_version
        return 0 if counter is None else counter.value

    @property
    def _sizes(self) -> tuple[int, ...]:
        array = self._array
        return self._layout.sizes if array is None else array.shape

    def _concrete(self, reason: str) -> Array:
        """Return the elements, for Python to look at; `reason` says why, as a clause."""
        tracer = mode.tracer
        if tracer is not None:
            return tracer.read(self, reason)
        return self._values()

    def _values(self) -> Array:
        """Return the elements at this point of the program, asking a promise to be kept."""
        storage = self._own_storage
        if storage is not None and storage.pending is not None:
            storage.pending.require("its elements are read")
        array = self._array
        if array is None:
            array = self._array = view_of(self._storage.array, self._layout)
        return array


def _flat_span(array: Array) -> Array:
    """Return the memory from the first to the last element, strides being non-negative."""
    span = 1 + sum((n - 1) * s for n, s in zip(array.shape, array.strides)) // array.itemsize
    return np.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,))


def view_of(memory: Array, layout: Layout) -> Array:
    """Return the elements of flat `memory` that `layout` names, as a NumPy view."""
    if 0 in layout.sizes:
        return np.ndarray(layout.sizes, memory.dtype)
    itemsize = memory.itemsize
    return np.ndarray(
        layout.sizes,
        memory.dtype,
        memory,
        layout.offset * itemsize,
        tuple([s * itemsize for s in layout.strides]),
    )


_new = object.__new__
_dtype_of_numpy = dtypes._BY_NUMPY
_kinds: list[type[Any]] = [TensorBase]


def complete(kind: type[TensorBase]) -> None:
    """Say which class results are made of; tensor.py does, once."""
    _kinds[0] = kind


def wrap(array: Array, dtype: DType | None = None) -> Tensor:
    """Return a fresh row-major array that nobody else holds as a tensor."""
    if type(array) is not np.ndarray:
        array = np.asarray(array)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    tensor = _new(_kinds[0])
    tensor._array = array
    tensor.dtype = _dtype_of_numpy[array.dtype] if dtype is None else dtype
    return tensor


def wrap_storage(
    storage: Storage, layout: Layout, array: Array | None = None, version: Version | None = None
) -> Tensor:
    """Return the tensor of `storage` seen through `layout`, outside of autograd."""
    tensor = _new(_kinds[0])
    tensor.dtype = storage.dtype
    tensor._own_storage = storage
    tensor._own_layout = layout
    tensor._own_version = version
    tensor._array = array
    return tensor
