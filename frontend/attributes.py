"""What a tensor is asked about itself and what is set on it: shape, storage, values, gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.autograd import engine, tape
from smelt.autograd.node import Node
from smelt.base import wrap, wrap_storage
from smelt.dispatch import cast, preserve, write
from smelt.functions import views
from smelt.hooks import RemovableHandle
from smelt.ir.dtypes import DType
from smelt.operators import Operators
from smelt.runtime.device import CPU, device
from smelt.size import Size
from smelt.state import mode
from smelt.storage import Array, Storage

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Self = Any


class Attributes(Operators):
    """Attributes of tensors and methods that are no functions."""

    @property
    def shape(self) -> Size:
        """Sizes of the dimensions."""
        return Size(self._sizes)

    def size(self, dim: int | None = None) -> Any:
        """Return all sizes, or that of one dimension."""
        if dim is None:
            return Size(self._sizes)
        return self._sizes[views.one_dim(dim, len(self._sizes), "size")]

    def dim(self) -> int:
        """Return the number of dimensions."""
        return len(self._sizes)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._sizes)

    def ndimension(self) -> int:
        """Return the number of dimensions."""
        return len(self._sizes)

    def numel(self) -> int:
        """Return the number of elements."""
        return self._count()

    def nelement(self) -> int:
        """Return the number of elements."""
        return self._count()

    def element_size(self) -> int:
        """Return the size of an element in bytes."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Size of an element in bytes."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Size of all elements in bytes."""
        return self._count() * self.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Return the strides in elements, or that of one dimension."""
        strides = self._layout.strides
        return strides if dim is None else strides[views.one_dim(dim, len(strides), "stride")]

    def storage_offset(self) -> int:
        """Return the position in the storage of the first element."""
        return self._layout.offset

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Tell whether the elements lie row-major without gaps."""
        return self._layout.is_contiguous

    def data_ptr(self) -> int:
        """Return the address of the first element."""
        self._concrete("data_ptr() asks where its elements are")
        return self._storage.address + self._layout.offset * self.dtype.itemsize

    def untyped_storage(self) -> Storage:
        """Return the storage, which views share."""
        return self._storage

    def storage(self) -> Storage:
        """Return the storage, which views share."""
        return self._storage

    def share_memory_(self: Self) -> Tensor:
        """Return the tensor as it is: threads share its memory already."""
        return self

    def is_shared(self) -> bool:
        """Tell whether other processes see the memory."""
        return False

    def pin_memory(self: Self) -> Tensor:
        """Return the tensor as it is: there is no device to copy to."""
        return self

    @property
    def device(self) -> device:
        """The device on which the elements are."""
        return CPU

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on a GPU."""
        return False

    def get_device(self) -> int:
        """Return the number of the GPU, -1 for the CPU."""
        return -1

    @property
    def T(self: Self) -> Tensor:
        """View with the dimensions in reverse order."""
        return views.permute(self, tuple(range(len(self._sizes)))[::-1])

    @property
    def mT(self: Self) -> Tensor:
        """View with the last two dimensions exchanged."""
        return views.mT(self)

    @property
    def data(self: Self) -> Tensor:
        """The same elements outside of autograd, with a version of their own."""
        return wrap_storage(self._storage, self._layout, self._array)

    @data.setter
    def data(self, other: Tensor) -> None:
        preserve(self)
        self._own_storage, self._own_layout = other._storage, other._layout
        self._array, self._trace = other._array, other._trace
        self.dtype = other.dtype

    # Values

    def item(self) -> Any:
        """Return the only element as a Python number."""
        return self._single("item() makes a Python number of it")

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self._concrete("tolist() makes Python numbers of it").tolist()

    def numpy(self, *, force: bool = False) -> Array:
        """Return an array that shares the memory.

        Raises:
            RuntimeError: the tensor requires grad and `force` is False.
        """
        if self.requires_grad and not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. "
                "Use tensor.detach().numpy() instead."
            )
        array = self._concrete("numpy() hands its elements to NumPy")
        self._storage.shared = True
        return array.view()

    def __dlpack__(self, **options: Any) -> Any:
        """Return a DLPack capsule of the shared memory."""
        if self.requires_grad:
            raise BufferError("a tensor that requires grad cannot be exported: detach() it first")
        array = self._concrete("DLPack hands its elements to another library")
        self._storage.shared = True
        return array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, ...]:
        """Return the kind and number of the device, as DLPack numbers them."""
        return (1, 0)

    def __copy__(self: Self) -> Tensor:
        fresh = object.__new__(type(self))
        self._concrete("copy() makes another tensor of its storage")
        fresh.__dict__.update(self.__dict__, _own_storage=self._storage, _own_layout=self._layout)
        fresh._own_version = self._version_counter
        fresh._accumulator = fresh._trace = None
        return fresh

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        if self._node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol: detach() this one first"
            )
        storage = self._storage
        held = memo.get(id(storage))
        if held is None:
            self._concrete("deepcopy() copies its elements")
            held = Storage(storage.array.copy(), storage.dtype)
            memo[id(storage)] = held
        fresh = object.__new__(type(self))
        fresh.dtype = self.dtype
        fresh._own_storage, fresh._own_layout = held, self._layout
        fresh._values()
        fresh._requires_grad = self._requires_grad
        memo[id(self)] = fresh
        if self._grad is not None:
            fresh._grad = copy.deepcopy(self._grad, memo)
        for name, value in self.__dict__.items():
            if not name.startswith("_") and name != "dtype":
                fresh.__dict__[name] = copy.deepcopy(value, memo)
        return fresh

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        array = self._concrete("pickle stores its elements")
        state = {k: v for k, v in self.__dict__.items() if not k.startswith("_") and k != "dtype"}
        raw = np.array(array, order="C")
        parts = (type(self), raw.tobytes(), self.dtype, raw.shape, self._requires_grad, state)
        return (_restore, parts)

    # Gradients

    @property
    def requires_grad(self) -> bool:
        """Whether gradients of this tensor are wanted."""
        return tape.requires(self)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients of this leaf are wanted, and return it."""
        if self._node is not None and not requires_grad:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if requires_grad and not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients, not "
                f"{self.dtype.torch_name}"
            )
        if requires_grad and self._inference:
            raise RuntimeError("an inference tensor cannot require grad; clone() it first")
        if self._requires_grad != requires_grad:
            preserve(self)
            self._requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor is no result of a taped operation."""
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Node | None:
        """What made this tensor, None for a leaf."""
        if self._base is not None:
            tape.requires(self)
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient, None where none has arrived."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Attributes):
                raise TypeError(f"assigned grad expected to be a Tensor, not {type(value)}")
            if value._sizes != self._sizes or value.dtype is not self.dtype:
                raise RuntimeError(
                    f"assigned grad has {value.dtype.torch_name} and shape {list(value._sizes)}; "
                    f"the tensor has {self.dtype.torch_name} and shape {list(self._sizes)}"
                )
        if mode.tracer is not None:
            preserve(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        preserve(self)
        self._grad = None

    def backward(
        self: Self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor to `.grad` of the leaves, or of `inputs` alone."""
        if inputs is not None and not isinstance(inputs, (tuple, list)):
            inputs = [inputs]
        if inputs is not None and not inputs:
            raise RuntimeError("'inputs' argument to backward() cannot be empty.")
        engine.backward(
            [self],
            [gradient],
            inputs,
            retain_graph=create_graph if retain_graph is None else retain_graph,
            create_graph=create_graph,
        )

    def register_hook(self: Self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(grad)` whenever the gradient of this tensor is known; it may replace it."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = self._node
        if node is None:
            if self._hooks is None:
                self._hooks = {}
            return RemovableHandle(self._hooks, hook)
        if node.hooks is None:
            node.hooks = {}
        return RemovableHandle(node.hooks.setdefault(self._output_nr, {}), hook)

    def register_post_accumulate_grad_hook(
        self: Self, hook: Callable[[Tensor], None]
    ) -> RemovableHandle:
        """Call `hook(tensor)` whenever the `.grad` of this leaf was added to."""
        if not self.requires_grad or self._node is not None:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if self._post_hooks is None:
            self._post_hooks = {}
        return RemovableHandle(self._post_hooks, hook)

    def retain_grad(self: Self) -> None:
        """Keep the gradient of this tensor in `.grad` though it is no leaf."""
        engine.retain_grad(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `.grad` is kept though this is no leaf."""
        node = self._node
        if node is None or node.retained is None:
            return False
        reference = node.retained.get(self._output_nr)
        return reference is not None and reference() is self

    def detach_(self: Self) -> Tensor:
        """Make this tensor a leaf that requires no grad."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._output_nr, self._requires_grad = None, 0, False
        return self

    def is_inference(self) -> bool:
        """Tell whether this tensor was made in inference mode."""
        return self._inference

    def copy_(self: Self, src: Tensor, non_blocking: Any = False) -> Tensor:
        """Overwrite the elements by those of another tensor, broadcast and converted."""
        write(self, views.expand(cast(src, self.dtype), self._sizes))
        return self

    def __repr__(self) -> str:
        from smelt.printing import text_of

        return text_of(self)


def _restore(
    kind: type[Any],
    raw: bytes,
    dtype: DType,
    shape: tuple[int, ...],
    requires_grad: bool,
    state: dict[str, Any],
) -> Any:
    """Return the tensor that pickle stored."""
    array = np.frombuffer(bytearray(raw), dtype.numpy).reshape(shape)
    fresh = object.__new__(kind)
    fresh.__dict__.update(wrap(array, dtype).__dict__)
    fresh.__dict__.update(state)
    fresh._requires_grad = requires_grad
    return fresh
