"""What in-place twins and `out=` forms share: where the operand comes from and the result goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from smelt import dispatch
from smelt.autograd import tape
from smelt.base import TensorBase
from smelt.ir.errors import DTypeError
from smelt.ir.promotion import can_cast
from smelt.state import mode

if TYPE_CHECKING:
    from smelt.tensor import Tensor

T = TypeVar("T", bound=TensorBase)


def operand(target: T, *others: Any) -> T:
    """Return what an op shall read whose result is stored in `target`.

    Where the op will be taped this is a copy at the same place on the tape, because its rule may
    read the elements that are overwritten.
    """
    if not mode.grad or mode.tracer is not None:
        return target
    tape.check_writable(target)
    if tape.requires(target) or any(isinstance(x, TensorBase) and tape.requires(x) for x in others):
        return tape.snapshot(target)  # type: ignore[arg-type, return-value]
    return target


def store(target: T, result: Any) -> T:
    """Overwrite `target` by the result of its in-place operation, and return it."""
    if result is not target:
        dispatch.write(target, result, owned=True)  # type: ignore[arg-type]
    return target


def source(target: T, inplace: bool) -> T:
    """Return what a function with an `inplace` option reads."""
    return operand(target) if inplace else target


def stored(target: T, result: T, inplace: bool) -> T:
    """Return what a function with an `inplace` option gives."""
    return store(target, result) if inplace else result


def fill(out: Any, result: Any) -> Any:
    """Write a result to `out`, which takes its shape, and return `out`.

    Raises:
        RuntimeError: gradients would be wanted, or the dtype cannot be stored.
    """
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"out must be {len(result)} tensors")
        filled = [fill(o, r) for o, r in zip(out, result)]
        return type(result)(*filled) if hasattr(result, "_fields") else tuple(filled)
    if not isinstance(out, TensorBase):
        raise TypeError(f"argument 'out' must be Tensor, not {type(out).__name__}")
    if mode.grad and (tape.requires(result) or tape.requires(out)):
        raise RuntimeError(
            "functions with out=... arguments don't support automatic differentiation, but one of "
            "the arguments requires grad: leave out= out, or work under no_grad()"
        )
    if not can_cast(result.dtype, out.dtype):
        raise DTypeError(
            f"a result of dtype {result.dtype.torch_name} can't be cast to the dtype of out, "
            f"{out.dtype.torch_name}"
        )
    if out._sizes != result._sizes:
        resized: Tensor = dispatch.cast(result, out.dtype)
        resize(out, resized)
        return out
    dispatch.write(out, result)  # type: ignore[arg-type]
    return out


def resize(target: TensorBase, source: Tensor) -> None:
    """Give `target` new storage that holds what `source` does, of its shape."""
    fresh: Tensor = dispatch.apply("clone", (source,))
    dispatch.preserve(target)
    target._own_storage = fresh._storage
    target._own_layout = fresh._layout
    target._array = fresh._array
    target._trace = fresh._trace
    target._version_counter.value += 1


def relay(target: T, view: Any) -> T:
    """Give `target` the layout of a view of itself, and its place on the tape; return it."""
    if mode.grad and tape.requires(target) and target._node is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation"
        )
    dispatch.preserve(target)
    target._own_storage, target._own_layout = view._storage, view._layout
    target._array, target._trace = view._array, view._trace
    target._node, target._output_nr = view._node, view._output_nr
    return target
