"""Reductions and running reductions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from smelt.base import TensorBase
from smelt.dispatch import apply, cast
from smelt.functions import arithmetic, comparison, operands, transcendental, views
from smelt.functions.operands import labelled, many_dims, one_dim, op
from smelt.ir import dtypes, promotion
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError
from smelt.ir.types import TensorType

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Dims = int | Sequence[int] | None


class Named(tuple[Any, ...]):
    """Results with names, which print as PyTorch's."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _function: str = "results"

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in zip(self._fields, self)]
        return f"torch.return_types.{self._function}(\n" + ",\n".join(parts) + ")"


class ValuesIndices(Named):
    """What an ordering function gives: the values and where they stood."""

    _fields = ("values", "indices")

    def __new__(cls, values: Any, indices: Any, function: str = "sort") -> ValuesIndices:
        """Pair values and indices; `function` is what gave them."""
        found = super().__new__(cls, (values, indices))
        found._function = function
        return found

    @property
    def values(self) -> Any:
        """The chosen elements."""
        return self[0]

    @property
    def indices(self) -> Any:
        """Where they stood."""
        return self[1]


class MinMax(Named):
    """What `aminmax` gives."""

    _fields = ("min", "max")
    _function = "aminmax"

    def __new__(cls, min: Any, max: Any) -> MinMax:
        """Pair the least and the greatest element."""
        return super().__new__(cls, (min, max))

    @property
    def min(self) -> Any:
        """The least element."""
        return self[0]

    @property
    def max(self) -> Any:
        """The greatest element."""
        return self[1]


def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Return the sum over dims; of bools and integers as int64."""
    operands.expect_tensor(input, "sum", "input")
    x = cast(input, dtype or promotion.sum_type(input.dtype))
    label = "sum" if dim is None else "sum@1"
    return _reduced("sum", x, many_dims(dim, len(x._sizes), "sum"), keepdim, label)


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Return the product over dims; of bools and integers as int64."""
    x = cast(input, dtype or promotion.sum_type(input.dtype))
    label = "prod" if dim is None else "prod@1"
    return _reduced("prod", x, many_dims(dim, len(x._sizes), "prod"), keepdim, label)


def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Return the mean over dims, of floats."""
    x = input if dtype is None else cast(input, dtype)
    if x.dtype.kind not in (Kind.FLOAT, Kind.COMPLEX):
        raise DTypeError(
            f"mean(): could not infer output dtype: the input is {x.dtype.torch_name}, but must "
            "be floating point; pass dtype=, or convert it with .float()"
        )
    label = "mean" if dim is None else "mean@1"
    return _reduced("mean", x, many_dims(dim, len(x._sizes), "mean"), keepdim, label)


def var(
    input: Tensor,
    dim: Dims | builtins.bool = None,
    unbiased: builtins.bool | None = None,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Tensor:
    """Return the variance over dims: squared deviations over count - correction (1)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    _expect_float(input, "var")
    normal = many_dims(dim, len(input._sizes), "var")
    found = op("var")
    result = apply(found, (input,), found.attrs(dims=normal, correction=correction))
    return _kept(result, input, normal) if keepdim else result


def std(
    input: Tensor,
    dim: Dims | builtins.bool = None,
    unbiased: builtins.bool | None = None,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Tensor:
    """Return the square root of the variance over dims."""
    _expect_float(input, "std")
    wide = cast(input, input.dtype.accumulator)
    found = arithmetic.sqrt(var(wide, dim, unbiased, keepdim, correction=correction))
    return labelled(cast(found, input.dtype), "std")


def var_mean(
    input: Tensor, dim: Dims = None, *, correction: int = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Return variance and mean over dims."""
    return var(input, dim, correction=correction, keepdim=keepdim), mean(input, dim, keepdim)


def std_mean(
    input: Tensor, dim: Dims = None, *, correction: int = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Return standard deviation and mean over dims."""
    return std(input, dim, correction=correction, keepdim=keepdim), mean(input, dim, keepdim)


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Return the greatest element over dims; equal ones share the gradient."""
    expect_elements(input, dim, "amax")
    return _reduced("amax", input, many_dims(dim, len(input._sizes), "amax"), keepdim)


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Return the least element over dims; equal ones share the gradient."""
    expect_elements(input, dim, "amin")
    return _reduced("amin", input, many_dims(dim, len(input._sizes), "amin"), keepdim)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """Return the least and the greatest element."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def max(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Any = None
) -> Any:
    """Return the greatest element; with dim, values and indices; with a tensor, elementwise."""
    return _extreme(input, other if dim is None else dim, keepdim, "max")


def min(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Any = None
) -> Any:
    """Return the least element; with dim, values and indices; with a tensor, elementwise."""
    return _extreme(input, other if dim is None else dim, keepdim, "min")


def _extreme(input: Tensor, dim: Any, keepdim: bool, which: str) -> Any:
    if dim is None:
        expect_elements(input, None, which)
        return _reduced("a" + which, input, tuple(range(len(input._sizes))), False, f"{which}@1")
    if isinstance(dim, TensorBase):
        other: Any = dim
        chosen = arithmetic.maximum if which == "max" else arithmetic.minimum
        return chosen(input, other)
    at = one_dim(dim, len(input._sizes), which)
    expect_elements(input, at, which)
    if not input._sizes:
        return ValuesIndices(views.clone(input), apply_full(0, (), dtypes.int64), which)
    found = op("arg" + which)
    indices = apply(found, (input,), found.attrs(dim=at))
    spread = views.unsqueeze(indices, at)
    gathered = op("gather")
    values = apply(gathered, (input, spread), gathered.attrs(dim=at))
    if keepdim:
        return ValuesIndices(labelled(values, which), spread, which)
    return ValuesIndices(labelled(views.squeeze(values, at), which), indices, which)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the greatest element, of the flat input if no dim is given."""
    return _arg("argmax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the least element, of the flat input if no dim is given."""
    return _arg("argmin", input, dim, keepdim)


def _arg(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    operands.expect_tensor(input, name, "input")
    expect_elements(input, dim, name)
    rank = len(input._sizes)
    at = None if dim is None else one_dim(dim, rank, name)
    if not rank:
        return apply_full(0, (), dtypes.int64)
    found = op(name)
    result = apply(found, (input,), found.attrs(dim=at))
    if not keepdim:
        return result
    return _kept(result, input, tuple(range(rank)) if at is None else (at,))


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return whether any element over dims is non-zero."""
    return _truth("any", input, dim, keepdim)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return whether all elements over dims are non-zero."""
    return _truth("all", input, dim, keepdim)


def _truth(name: str, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    operands.expect_tensor(input, name, "input")
    dims = many_dims(dim, len(input._sizes), name, empty_means_all=False)
    result = _reduced(name, cast(input, dtypes.bool_), dims, keepdim)
    # PyTorch gives uint8 for uint8, for the sake of code older than bool tensors.
    return cast(result, dtypes.uint8) if input.dtype is dtypes.uint8 else result


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """Return the number of non-zero elements over dims."""
    return sum(comparison.ne(input, 0), dim)


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Return log(sum(exp(input))) over dims without overflow."""
    x = cast(input, operands.float_dtype(input))
    dims = many_dims(dim, len(x._sizes), "logsumexp")
    if any_size_is_zero(x, dims):
        return transcendental.log(sum(x, dim, keepdim))
    return _reduced("logsumexp", x, dims, keepdim)


def any_size_is_zero(x: Tensor, dims: tuple[int, ...]) -> bool:
    """Tell whether one of the dims has no positions."""
    return builtins.any(x._sizes[d] == 0 for d in dims)


def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    """Return the p-norm of the vectors along dims, of all elements if none are given."""
    x = input if dtype is None else cast(input, dtype)
    _expect_float(x, "norm")
    order = 2.0 if p in ("fro", None) else p
    if isinstance(order, str):
        raise ArgumentError(f"norm: p must be a number or 'fro', not {p!r}")
    magnitude = arithmetic.abs(x)
    if order == math.inf:
        return amax(magnitude, () if dim is None else dim, keepdim)
    if order == -math.inf:
        return amin(magnitude, () if dim is None else dim, keepdim)
    if order == 0:
        return sum(cast(comparison.ne(x, 0), x.dtype), dim, keepdim)
    if order == 1:
        return sum(magnitude, dim, keepdim)
    if order == 2:
        found = arithmetic.sqrt(sum(arithmetic.mul(x, x), dim, keepdim))
        return labelled(found, "linalg_vector_norm")
    return arithmetic.pow(sum(arithmetic.pow(magnitude, order), dim, keepdim), 1.0 / order)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of input - other."""
    return norm(arithmetic.sub(input, other), p)


def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the sum over dims, with NaN counted as zero."""
    return sum(arithmetic.where_number(comparison.eq(input, input), input, 0), dim, keepdim)


def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the mean over dims of the elements that are not NaN."""
    known = cast(comparison.eq(input, input), input.dtype)
    return arithmetic.div(nansum(input, dim, keepdim), sum(known, dim, keepdim))


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Return the running sum along dim."""
    return _running("cumsum", cast(input, dtype or promotion.sum_type(input.dtype)), dim)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Return the running product along dim."""
    return _running("cumprod", cast(input, dtype or promotion.sum_type(input.dtype)), dim)


def cummax(input: Tensor, dim: int) -> ValuesIndices:
    """Return the greatest element so far along dim, and its index."""
    values, indices = _running("cummax", input, dim)
    return ValuesIndices(values, indices, "cummax")


def cummin(input: Tensor, dim: int) -> ValuesIndices:
    """Return the least element so far along dim, and its index."""
    values, indices = _running("cummin", input, dim)
    return ValuesIndices(values, indices, "cummin")


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Return log(cumsum(exp(input))) along dim, shifted by the greatest element of the row."""
    one_dim(dim, len(input._sizes), "logcumsumexp")
    _expect_float(input, "logcumsumexp")
    if input.numel() == 0:
        return views.clone(input)
    high = views.detach(amax(input, dim, keepdim=True))
    high = arithmetic.where_number(comparison.isfinite(high), high, 0)
    shifted = transcendental.exp(arithmetic.sub(input, high))
    return arithmetic.add(transcendental.log(cumsum(shifted, dim)), high)


def diff(input: Tensor, n: int = 1, dim: int = -1) -> Tensor:
    """Return the n-th difference of neighbours along dim."""
    at = one_dim(dim, len(input._sizes), "diff")
    for _ in range(n):
        size = input._sizes[at]
        late = views.sliced(input, at, builtins.min(1, size), size)
        early = views.sliced(input, at, 0, builtins.max(size - 1, 0))
        input = (
            comparison.ne(late, early)
            if input.dtype is dtypes.bool_
            else arithmetic.sub(late, early)
        )
    return input


def _running(name: str, x: Tensor, dim: int) -> Any:
    at = one_dim(dim, len(x._sizes), name)
    found = op(name)
    if x._sizes:
        return apply(found, (x,), found.attrs(dim=at))
    result = apply(found, (views.reshape(x, 1),), found.attrs(dim=0))
    if isinstance(result, tuple):
        return tuple([views.reshape(part, ()) for part in result])
    return views.reshape(result, ())


def _reduced(name: str, x: Tensor, dims: tuple[int, ...], keepdim: bool, label: str = "") -> Tensor:
    label = label or name
    found = op(name)
    result = labelled(apply(found, (x,), found.attrs(dims=dims)), label)
    return labelled(_kept(result, x, dims), label) if keepdim and dims else result


def _kept(result: Tensor, source: Tensor, dims: tuple[int, ...]) -> Tensor:
    shape = tuple([1 if d in dims else n for d, n in enumerate(source._sizes)])
    return views.reshape(result, shape)


def apply_full(value: Any, shape: tuple[int, ...], dtype: DType) -> Tensor:
    """Return a tensor filled with a number."""
    found = op("full")
    return apply(found, (), found.attrs(value=value, dtype=dtype, shape=shape))


def _expect_float(x: Tensor, function: str) -> None:
    operands.expect_tensor(x, function, "input")
    if x.dtype.kind is not Kind.FLOAT:
        raise DTypeError(
            f"{function}: the input must be floating point, but is {x.dtype.torch_name}"
        )


def expect_elements(x: Tensor, dim: Dims, function: str) -> None:
    """Raise an EmptyReductionError if one of the dims has no positions."""
    operands.expect_tensor(x, function, "input")
    for d in many_dims(dim, len(x._sizes), function):
        if x._sizes[d] == 0:
            found = TensorType(x.dtype, tuple(x._sizes))
            raise EmptyReductionError(
                f"{function}(): there is no such element among none: the input is {found}, and "
                f"dimension {d}, which is reduced, has size 0"
            )


class EmptyReductionError(TypeInferenceError, IndexError):
    """An extreme element was asked of a dimension that has none."""


def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Return exp(input) / sum(exp(input)) along dim."""
    return _along("softmax", input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Return log(softmax(input)) along dim, without overflow."""
    return _along("log_softmax", input, dim, dtype)


def _along(name: str, input: Tensor, dim: int, dtype: DType | None) -> Tensor:
    x = input if dtype is None else cast(input, dtype)
    at = one_dim(dim, len(x._sizes), name)
    _expect_float(x, name)
    found = op(name)
    if not x._sizes:
        whole = apply(found, (views.reshape(x, 1),), found.attrs(dim=0))
        return views.reshape(whole, ())
    return apply(found, (x,), found.attrs(dim=at))
