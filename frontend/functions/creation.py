"""Creation of tensors from data, from numbers and from ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt import dispatch
from smelt.base import TensorBase, wrap, wrap_storage
from smelt.dispatch import apply, cast
from smelt.functions import arithmetic, operands, views
from smelt.functions.operands import Number, op
from smelt.ir import dtypes, promotion
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError, TypeInferenceError
from smelt.ir.layout import Layout
from smelt.runtime.device import require as check_device
from smelt.state import settings
from smelt.storage import Storage

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Size = Any


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return a new tensor that copies `data`: a number, nested sequences, an array or a tensor."""
    check_device(device)
    result = wrap(_array_of(data, dtype, "tensor"))
    return with_grad(result, requires_grad)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor, without a copy where it is a tensor or an array that fits."""
    check_device(device)
    if isinstance(data, TensorBase):
        return cast(data, dtype or data.dtype)  # type: ignore[arg-type]
    if isinstance(data, np.ndarray) and _smelt_dtype(data) is not None:
        found = from_numpy(data)
        return found if dtype is None else cast(found, dtype)
    return wrap(_array_of(data, dtype, "as_tensor"))


def _smelt_dtype(array: np.ndarray[Any, Any]) -> DType | None:
    try:
        return dtypes.of_numpy(array.dtype)
    except KeyError:
        return None


def from_numpy(ndarray: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor that shares the memory of an array, both ways.

    Raises:
        TypeError: not an array, or of a dtype that smelt has not.
        ValueError: strides that are negative or no multiple of the size of an element.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtype = _smelt_dtype(ndarray)
    if dtype is None:
        raise TypeError(
            f"can't convert np.ndarray of type {ndarray.dtype}: smelt has the dtypes "
            + ", ".join(d.torch_name for d in dtypes.ALL)
        )
    size = dtype.itemsize
    if ndarray.size and any(s < 0 or s % size for s in ndarray.strides):
        raise ArgumentError(
            f"from_numpy: strides {ndarray.strides} (bytes) must be non-negative multiples of the "
            f"{size} bytes of an element; copy the array first"
        )
    strides = tuple([s // size for s in ndarray.strides])
    if ndarray.size == 0:
        return wrap(np.empty(ndarray.shape, ndarray.dtype), dtype)
    layout = Layout(0, ndarray.shape, strides)
    flat = np.lib.stride_tricks.as_strided(ndarray, (layout.span,), (size,))
    return wrap_storage(Storage(flat, dtype, shared=True), layout, ndarray)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """Return a tensor that shares the memory of another library's array, through DLPack."""
    return from_numpy(np.from_dlpack(ext_tensor))


def frombuffer(
    buffer: Any,
    *,
    dtype: DType,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> Tensor:
    """Return a 1-D tensor that shares the memory of a buffer."""
    found = from_numpy(np.frombuffer(buffer, dtype.numpy, count, offset))
    return with_grad(found, requires_grad)


def _array_of(data: Any, dtype: DType | None, function: str) -> np.ndarray[Any, Any]:
    if isinstance(data, TensorBase):
        array = data._concrete(f"{function}() copies the elements of a tensor")
        return np.array(array, (dtype or data.dtype).numpy, order="C")
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
        if dtype is None and _smelt_dtype(array) is None:
            raise TypeError(f"{function}(): smelt has no dtype for an array of {array.dtype}")
        return np.array(array, None if dtype is None else dtype.numpy, order="C")
    found = _unpacked(data, function)
    if dtype is None:
        dtype = _dtype_of(found)
    try:
        if dtype.is_integer:
            exact = np.array(found)
            if exact.dtype.kind == "f":
                exact = np.trunc(exact)
            return np.array(exact.astype(dtype.numpy), order="C")
        return np.array(found, dtype.numpy, order="C")
    except ValueError as error:
        raise ArgumentError(f"{function}(): the sequences do not make a box: {error}") from error


def _unpacked(data: Any, function: str) -> Any:
    """Return data with tensors in it replaced by their elements."""
    if isinstance(data, (list, tuple)):
        return [_unpacked(x, function) for x in data]
    if isinstance(data, TensorBase):
        return data._concrete(f"{function}() copies the elements of a tensor").tolist()
    if operands.is_number(data):
        return operands.as_number(data)
    if isinstance(data, np.ndarray):
        return data.tolist()
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [_unpacked(x, function) for x in data]
    if hasattr(data, "__array__"):
        return np.asarray(data).tolist()
    raise TypeError(f"{function}(): could not infer dtype of {type(data).__name__}")


def _dtype_of(data: Any) -> DType:
    found: DType | None = None
    stack = [data]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        else:
            own = promotion.number_dtype(item, settings.default_dtype)
            found = own if found is None else promotion.promote(found, own)
    return settings.default_dtype if found is None else found


def with_grad(x: Tensor, requires_grad: bool) -> Tensor:
    """Mark a fresh tensor as one whose gradient is wanted, if it is."""
    return x.requires_grad_() if requires_grad else x


def _filled(
    sizes: tuple[int, ...],
    value: Number,
    dtype: DType | None,
    device: Any,
    requires_grad: bool,
    function: str,
) -> Tensor:
    check_device(device)
    for n in sizes:
        if n < 0:
            raise TypeInferenceError(
                f"{function}: Trying to create tensor with negative dimension {n}: {list(sizes)}"
            )
    chosen = settings.default_dtype if dtype is None else dtype
    number: Number = value
    if chosen.is_integer and isinstance(value, float):
        number = int(value)
    elif chosen.is_floating_point and not isinstance(value, complex):
        number = float(value)
    elif chosen is dtypes.bool_:
        number = bool(value)
    found = op("full")
    attrs = found.attrs(value=number, dtype=chosen, shape=sizes)
    return with_grad(apply(found, (), attrs), requires_grad)


def zeros(
    *sizes: Size,
    size: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of zeros."""
    return _filled(views.sizes_of(sizes, size), 0, dtype, device, requires_grad, "zeros")


def ones(
    *sizes: Size,
    size: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of ones."""
    return _filled(views.sizes_of(sizes, size), 1, dtype, device, requires_grad, "ones")


def empty(
    *sizes: Size,
    size: Any = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor whose elements mean nothing; smelt makes them zero."""
    return _filled(views.sizes_of(sizes, size), 0, dtype, device, requires_grad, "empty")


def full(
    size: Sequence[int] | int,
    fill_value: Number,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor filled with a number, of its dtype unless another is given."""
    if isinstance(fill_value, TensorBase):
        if dtype is None:
            dtype = fill_value.dtype
        source = operands.to_tensor(fill_value, dtype)
        return views.clone(views.expand(source, views.sizes_of((size,))))
    value = operands.as_number(fill_value)
    chosen = promotion.number_dtype(value, settings.default_dtype) if dtype is None else dtype
    return _filled(views.sizes_of((size,)), value, chosen, device, requires_grad, "full")


def zeros_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros of the shape and dtype of the input."""
    chosen = dtype or input.dtype
    return _filled(tuple(input._sizes), 0, chosen, device, requires_grad, "zeros_like")


def ones_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return ones of the shape and dtype of the input."""
    chosen = dtype or input.dtype
    return _filled(tuple(input._sizes), 1, chosen, device, requires_grad, "ones_like")


def empty_like(
    input: Tensor,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor of the shape and dtype of the input whose elements mean nothing."""
    chosen = dtype or input.dtype
    return _filled(tuple(input._sizes), 0, chosen, device, requires_grad, "empty_like")


def full_like(
    input: Tensor,
    fill_value: Number,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor of the shape and dtype of the input filled with a number."""
    return full(
        tuple(input._sizes),
        fill_value,
        dtype=dtype or input.dtype,
        device=device,
        requires_grad=requires_grad,
    )


def new_zeros(input: Tensor, *size: Size, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return zeros of another shape, of the dtype of the input."""
    return zeros(*size, dtype=dtype or input.dtype, device=device)


def new_ones(input: Tensor, *size: Size, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return ones of another shape, of the dtype of the input."""
    return ones(*size, dtype=dtype or input.dtype, device=device)


def new_empty(input: Tensor, *size: Size, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return a tensor of another shape whose elements mean nothing, of the same dtype."""
    return empty(*size, dtype=dtype or input.dtype, device=device)


def new_full(
    input: Tensor, size: Sequence[int], fill_value: Number, *, dtype: DType | None = None
) -> Tensor:
    """Return a tensor of another shape filled with a number, of the dtype of the input."""
    return full(size, fill_value, dtype=dtype or input.dtype)


def new(input: Tensor, *args: Any) -> Tensor:
    """Return a tensor of sizes, or of data, of the dtype of the input."""
    if len(args) == 1 and isinstance(args[0], (list, TensorBase, np.ndarray)):
        return tensor(args[0], dtype=input.dtype)
    return empty(*args, dtype=input.dtype)


def new_tensor(input: Tensor, data: Any, *, dtype: DType | None = None) -> Tensor:
    """Return a copy of data, of the dtype of the input."""
    return tensor(data, dtype=dtype or input.dtype)


def arange(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return start, start + step, … below end; int64 if all three are integers."""
    check_device(device)
    if end is None:
        start, end = 0, start
    start, end, step = _plain(start), _plain(end), _plain(step)
    if step == 0:
        raise TypeInferenceError("arange: step must be nonzero")
    if (end - start) * step < 0:  # type: ignore[operator]
        raise TypeInferenceError(
            f"arange: upper bound and larger bound inconsistent with step sign: "
            f"{start}, {end}, {step}"
        )
    count = max(0, math.ceil((end - start) / step))  # type: ignore[operator]
    integral = all(isinstance(x, int) for x in (start, end, step))
    chosen = dtype or (dtypes.int64 if integral else settings.default_dtype)
    return with_grad(_ramp(count, start, step, chosen), requires_grad)


def _plain(value: Any) -> Any:
    """Return a number that may be given as a tensor or a NumPy scalar as Python's."""
    return value.item() if hasattr(value, "item") else value


def _ramp(count: int, start: Any, step: Any, dtype: DType) -> Tensor:
    """Return start + step * i for i below count, computed in int64 or in float64."""
    found = op("iota")
    exact = isinstance(start, int) and isinstance(step, int)
    wide = dtypes.int64 if exact else dtypes.float64
    if exact and start == 0 and step == 1:
        return apply(found, (), found.attrs(shape=(count,), dim=0, dtype=dtype))
    ramp = apply(found, (), found.attrs(shape=(count,), dim=0, dtype=wide))
    if step != 1:
        ramp = arithmetic.mul(ramp, dispatch.scalar(step, wide))
    if start != 0:
        ramp = arithmetic.add(ramp, dispatch.scalar(start, wide))
    return cast(ramp, dtype)


def range(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return start, start + step, … up to and including end, as floats."""
    check_device(device)
    if end is None:
        start, end = 0, start
    count = math.floor((end - start) / step) + 1  # type: ignore[operator, arg-type]
    chosen = dtype or settings.default_dtype
    return with_grad(_ramp(count, start, step, chosen), requires_grad)


def linspace(
    start: Number,
    end: Number,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return evenly spaced numbers from start to end, both included."""
    check_device(device)
    if steps < 0:
        raise TypeInferenceError(f"linspace: number of steps must be non-negative, not {steps}")
    chosen = dtype or settings.default_dtype
    values = np.linspace(float(start), float(end), steps)  # type: ignore[arg-type]
    return with_grad(wrap(_cut(values, chosen), chosen), requires_grad)


def logspace(
    start: Number,
    end: Number,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return base to the power of evenly spaced numbers from start to end."""
    check_device(device)
    chosen = dtype or settings.default_dtype
    values = np.power(base, np.linspace(float(start), float(end), steps))  # type: ignore[arg-type]
    return with_grad(wrap(_cut(values, chosen), chosen), requires_grad)


def _cut(values: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    return (np.trunc(values) if dtype.is_integer else values).astype(dtype.numpy)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the n × m matrix with ones on the diagonal."""
    check_device(device)
    found = op("eye")
    chosen = dtype or settings.default_dtype
    attrs = found.attrs(rows=n, columns=n if m is None else m, dtype=chosen)
    return with_grad(apply(found, (), attrs), requires_grad)


def scalar_tensor(value: Number, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return a number as a 0-d tensor, of the default dtype unless another is given."""
    check_device(device)
    return wrap(np.array(value, (dtype or settings.default_dtype).numpy))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: DType | None = None) -> Tensor:
    """Return the rows and columns of the elements on and below a diagonal."""
    found = np.array(np.tril_indices(row, offset, col))
    return wrap(found.astype((dtype or dtypes.int64).numpy))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: DType | None = None) -> Tensor:
    """Return the rows and columns of the elements on and above a diagonal."""
    found = np.array(np.triu_indices(row, offset, col))
    return wrap(found.astype((dtype or dtypes.int64).numpy))


def fill(input: Tensor, value: Any) -> Tensor:
    """Return a number, or a 0-d tensor, in the shape and dtype of the input."""
    if isinstance(value, TensorBase) and value._sizes:
        raise TypeInferenceError(
            f"fill_: the value must be a number or a 0-d tensor, not of shape {list(value._sizes)}"
        )
    return views.expand(operands.to_tensor(value, input.dtype), input._sizes)


def zero(input: Tensor) -> Tensor:
    """Return zeros in the shape and dtype of the input."""
    return fill(input, 0)
