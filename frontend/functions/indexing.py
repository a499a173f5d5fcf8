"""Indexing: `x[...]` and `x[...] = ...`, and functions that read or write at positions in tensors.

Ints, slices, `None` and `...` give views. Tensors, lists and masks give copies: what they index is
first narrowed to a view by the others, then gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.base import TensorBase, wrap
from smelt.dispatch import apply, cast, expand, write
from smelt.functions import arithmetic, operands, views
from smelt.functions.operands import Number, Operand, labelled, one_dim, op
from smelt.ir import dtypes, promotion
from smelt.ir.errors import ArgumentError, DimensionError, DTypeError, TypeInferenceError

if TYPE_CHECKING:
    from smelt.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """An index, taken apart.

    Attributes:
        view: what ints, slices, `None` and `...` leave.
        indices: (dimension of the view, integer tensor) in order.
        mask: a mask that covers `mask_dims` dimensions of the view from `mask_at` on, where it is
            the only thing that is no view; then `indices` is empty.
        mask_at: first dimension that the mask covers.
    """

    view: Tensor
    indices: tuple[tuple[int, Tensor], ...]
    mask: Tensor | None = None
    mask_at: int = 0


def _as_index(item: Any) -> Any:
    """Return an item of an index as None, ..., int, slice or tensor."""
    if item is None or item is Ellipsis or isinstance(item, (slice, TensorBase)):
        return item
    if isinstance(item, (bool, np.bool_)):
        return wrap(np.array(bool(item)))
    if isinstance(item, (int, np.integer)):
        return int(item)
    if isinstance(item, (list, tuple, range)):
        item = np.array(
            [
                x._concrete("it is part of an index") if isinstance(x, TensorBase) else x
                for x in item
            ]
        )
        if item.size == 0:
            item = item.astype(np.int64)
    if isinstance(item, np.ndarray):
        return wrap(item.copy())
    if hasattr(item, "__index__"):
        return item.__index__()
    raise TypeError(
        "only integers, slices (`:`), ellipsis (`...`), None and integer or bool tensors are "
        f"valid indices, not {type(item).__name__}"
    )


def _covers(item: Any) -> int:
    """Return how many dimensions an item consumes."""
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, TensorBase) and item.dtype in (dtypes.bool_, dtypes.uint8):
        return item.dim()  # type: ignore[attr-defined]
    return 1


def plan(x: Tensor, index: Any) -> Plan:
    """Take an index apart.

    Raises:
        IndexError: too many items, an int out of range, a mask of another shape, or an item that
            indexes nothing.
    """
    items = [_as_index(i) for i in (index if isinstance(index, tuple) else (index,))]
    rank = x.dim()
    consumed = sum([_covers(i) for i in items])
    if consumed > rank:
        raise DimensionError(
            f"too many indices for tensor of dimension {rank}: {consumed} are given for shape "
            f"{list(x._sizes)}"
        )
    dots = [k for k, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise DimensionError("an index can only have a single ellipsis ('...')")
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (rank - consumed)
    starts: list[int] = []
    stops: list[int] = []
    steps: list[int] = []
    shape: list[int] = []
    tensors: list[tuple[int, Tensor]] = []
    for item in items:
        source = len(starts)
        if item is None:
            shape.append(1)
            continue
        if isinstance(item, TensorBase):
            tensor: Any = item
            covered = _covers(item)
            tensors.append((len(shape), tensor))
            if covered == 0:  # a 0-d mask adds a dimension of size 0 or 1
                shape.append(1)
            for size in x._sizes[source : source + covered]:
                starts.append(0)
                stops.append(size)
                steps.append(1)
                shape.append(size)
            continue
        size = x._sizes[source]
        if isinstance(item, slice):
            start, stop, step = _bounds(item, size)
            starts.append(start)
            stops.append(stop)
            steps.append(step)
            shape.append(-(-(stop - start) // step))
            continue
        if not -size <= item < size:
            raise DimensionError(
                f"index {item} is out of bounds for dimension {source} with size {size}"
            )
        position = item + size if item < 0 else item
        starts.append(position)
        stops.append(position + 1)
        steps.append(1)
    view = x
    if any(starts) or tuple(stops) != x._sizes or any(s != 1 for s in steps):
        found = op("slice")
        attrs = found.attrs(starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))
        view = apply(found, (x,), attrs)
    if tuple(shape) != view._sizes:
        found = op("reshape")
        view = apply(found, (view,), found.attrs(shape=tuple(shape)))
        labelled(view, "unsqueeze" if len(shape) > x.dim() else "select")
    return _with_tensors(view, tensors)


def _bounds(item: slice, size: int) -> tuple[int, int, int]:
    step = 1 if item.step is None else item.step.__index__()
    if step <= 0:
        raise ArgumentError(f"step must be greater than zero, not {step}")
    start, stop, _ = slice(
        None if item.start is None else item.start.__index__(),
        None if item.stop is None else item.stop.__index__(),
        step,
    ).indices(size)
    return start, max(start, stop), step


def _with_tensors(view: Tensor, tensors: list[tuple[int, Tensor]]) -> Plan:
    masks = [(at, t) for at, t in tensors if t.dtype in (dtypes.bool_, dtypes.uint8)]
    for at, mask in masks:
        covered = view._sizes[at : at + mask.dim()] if mask.dim() else ()
        if covered != mask._sizes:
            raise DimensionError(
                f"The shape of the mask {list(mask._sizes)} at index {at} does not match the shape "
                f"of the indexed tensor {list(view._sizes)} at index {at}"
            )
    if masks and len(tensors) == 1 and masks[0][1].dim():
        return Plan(view, (), cast(masks[0][1], dtypes.bool_), masks[0][0])
    indices: list[tuple[int, Tensor]] = []
    for at, tensor in tensors:
        if tensor.dtype in (dtypes.bool_, dtypes.uint8):
            indices.extend(_of_mask(at, tensor))
        elif tensor.dtype.is_integer:
            indices.append((at, cast(tensor, dtypes.int64)))
        else:
            raise DimensionError(
                "tensors used as indices must be long, int, short, byte or bool tensors, not "
                f"{tensor.dtype.torch_name}"
            )
    return Plan(view, tuple(indices))


def _of_mask(at: int, mask: Tensor) -> list[tuple[int, Tensor]]:
    array = mask._concrete("a mask selects as many elements as it has true ones")
    if array.ndim == 0:
        return [(at, wrap(np.zeros(int(bool(array)), np.int64)))]
    return [(at + k, wrap(part.astype(np.int64))) for k, part in enumerate(np.nonzero(array))]


def _unmasked(found: Plan) -> Plan:
    if found.mask is None:
        return found
    return Plan(found.view, tuple(_of_mask(found.mask_at, found.mask)))


def get(x: Tensor, index: Any) -> Tensor:
    """Return `x[index]`."""
    found = _unmasked(plan(x, index))
    if found.indices:
        return _gathered(found.view, found.indices)
    return views.alias(x) if found.view is x else found.view


def index_by(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """Return `x` indexed by one integer tensor a dimension, None for all of it."""
    given = tuple([(d, cast(i, dtypes.int64)) for d, i in enumerate(indices) if i is not None])
    return _gathered(x, given)


def _front(view: Tensor, indices: tuple[tuple[int, Tensor], ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return the attrs and operands of `index`: indices broadcast, to be put in front."""
    try:
        spread = operands.spread("index", *[i for _, i in indices])
    except TypeInferenceError as error:
        raise DimensionError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(str(list(i._sizes)) for _, i in indices)
        ) from error
    return tuple([d for d, _ in indices]), spread


def _place(dims: tuple[int, ...]) -> int:
    """Return where in the result the dimensions of the indices stand: in place if adjacent."""
    adjacent = dims == tuple(range(dims[0], dims[0] + len(dims)))
    return dims[0] if adjacent else 0


def _gathered(view: Tensor, indices: tuple[tuple[int, Tensor], ...]) -> Tensor:
    dims, spread = _front(view, indices)
    indexed = op("index")
    result = apply(indexed, (view, *spread), indexed.attrs(dims=dims))
    at, rank = _place(dims), spread[0].dim()
    if at == 0:
        return result
    order = (*range(rank, rank + at), *range(rank), *range(rank + at, result.dim()))
    return views.contiguous(views.permute(result, order))


def put(x: Tensor, index: Any, value: Operand) -> None:
    """Do `x[index] = value`."""
    found = plan(x, index)
    view = found.view
    if not isinstance(value, TensorBase) and not operands.is_number(value):
        raise TypeError(f"can't assign a {type(value).__name__} to a {x.dtype.torch_name} tensor")
    source = operands.to_tensor(value, x.dtype)
    if found.mask is not None and source.numel() == 1:
        mask = found.mask
        after = view.dim() - found.mask_at - mask.dim()
        mask = views.reshape(mask, (*mask._sizes, *[1] * after))
        chosen = arithmetic.where_tensor(mask, views.reshape(source, ()), view)
        write(view, chosen, owned=True)
        return
    found = _unmasked(found)
    if not found.indices:
        write(view, _fitted(source, view._sizes))
        return
    _put_at(view, found.indices, source, accumulate=False)


def _put_at(
    view: Tensor, indices: tuple[tuple[int, Tensor], ...], source: Tensor, *, accumulate: bool
) -> None:
    dims, spread = _front(view, indices)
    at, rank = _place(dims), spread[0].dim()
    rest = tuple([n for d, n in enumerate(view._sizes) if d not in dims])
    wanted = (*rest[:at], *spread[0]._sizes, *rest[at:])
    source = _fitted(source, wanted)
    if at:
        order = (*range(at, at + rank), *range(at), *range(at + rank, len(wanted)))
        source = views.permute(source, order)
    placed = op("index_put")
    attrs = placed.attrs(dims=dims, accumulate=accumulate)
    write(view, apply(placed, (view, source, *spread), attrs), owned=True)


def _fitted(source: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Return a value broadcast to the shape that is assigned to; leading 1s may go."""
    sizes = source._sizes
    extra = len(sizes) - len(wanted)
    if extra > 0 and all(n == 1 for n in sizes[:extra]):
        source = views.reshape(source, sizes[extra:])
    try:
        if promotion.broadcast(source._sizes, wanted, op="assignment") == wanted:
            return expand(source, wanted)
    except TypeInferenceError:
        pass
    raise TypeInferenceError(
        f"shape mismatch: value tensor of shape {list(sizes)} cannot be broadcast to indexing "
        f"result of shape {list(wanted)}"
    )


def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Return a copy with values put (or added) at the positions that the indices name."""
    result = views.clone(input)
    found = _with_tensors(result, [(d, i) for d, i in enumerate(indices) if i is not None])
    found = _unmasked(found)
    _put_at(result, found.indices, cast(values, input.dtype), accumulate=accumulate)
    return result


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return input[…, index[…, i, …], …] along dim."""
    at = _indexed(input, dim, index, "gather")
    found = op("gather")
    if not input.dim():
        whole = gather(views.reshape(input, 1), 0, views.reshape(index, -1))
        return views.reshape(whole, index._sizes)
    return apply(found, (input, index), found.attrs(dim=at))


def _indexed(input: Tensor, dim: int, index: Tensor, function: str) -> int:
    at = one_dim(dim, input.dim(), function)
    if index.dtype is not dtypes.int64:
        raise DTypeError(
            f"{function}(): Expected dtype int64 for index, but it is {index.dtype.torch_name}"
        )
    if max(index.dim(), 1) != max(input.dim(), 1):
        raise TypeInferenceError(
            f"{function}: Index tensor must have the same number of dimensions as input tensor: "
            f"{list(index._sizes)} and {list(input._sizes)}"
        )
    return at


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Operand, *, reduce: str | None = None
) -> Tensor:
    """Return a copy with src put at the positions along dim that index names."""
    if reduce is not None:
        if reduce != "add":
            raise ArgumentError(f"scatter: reduce must be None or 'add', not {reduce!r}")
        return scatter_add(input, dim, index, operands.to_tensor(src, input.dtype))
    return _scattered("scatter", input, dim, index, src)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return a copy with src added at the positions along dim that index names."""
    return _scattered("scatter_add", input, dim, index, src)


def _scattered(name: str, input: Tensor, dim: int, index: Tensor, src: Operand) -> Tensor:
    at = _indexed(input, dim, index, name)
    if isinstance(src, TensorBase) and src.dtype is not input.dtype:
        raise DTypeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype: "
            f"{input.dtype.torch_name} and {src.dtype.torch_name}"
        )
    source = operands.to_tensor(src, input.dtype)
    if not isinstance(src, TensorBase):
        source = expand(source, index._sizes)
    for d, n in enumerate(index._sizes):
        if n > source._sizes[d]:
            raise TypeInferenceError(
                f"{name}: Expected index {list(index._sizes)} to be no larger than src "
                f"{list(source._sizes)} in dimension {d}"
            )
        if n < source._sizes[d]:
            source = views.sliced(source, d, 0, n)
    found = op(name)
    return apply(found, (input, index, source), found.attrs(dim=at))


def _positions(index: Tensor, function: str) -> Tensor:
    """Return a vector of positions as int64; DTypeError unless it holds int64 or int32."""
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(
            f"{function}(): Expected dtype int64 or int32 for index, but it is "
            f"{index.dtype.torch_name}"
        )
    return cast(index, dtypes.int64)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return a copy of the positions of dim that a vector names."""
    at = one_dim(dim, input.dim(), "index_select")
    if index.dim() > 1:
        raise DimensionError(
            f"index_select(): Index is supposed to be a vector, but has shape {list(index._sizes)}"
        )
    if not input.dim():
        return views.reshape(index_select(views.reshape(input, 1), 0, index), ())
    found = op("index_select")
    positions = views.reshape(_positions(index, "index_select"), -1)
    return apply(found, (input, positions), found.attrs(dim=at))


def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1
) -> Tensor:
    """Return a copy with alpha * source added at the positions of dim that a vector names."""
    at = one_dim(dim, input.dim(), "index_add")
    found = op("index_add")
    if alpha != 1:
        source = arithmetic.mul(source, alpha)
    positions = _positions(index, "index_add")
    return apply(found, (input, positions, cast(source, input.dtype)), found.attrs(dim=at))


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Return a copy with source put at the positions of dim that a vector names."""
    at = one_dim(dim, input.dim(), "index_copy")
    placed = op("index_put")
    order = (at, *[d for d in range(source.dim()) if d != at])
    attrs = placed.attrs(dims=(at,), accumulate=False)
    positions = _positions(index, "index_copy")
    return apply(placed, (input, views.permute(source, order), positions), attrs)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Operand) -> Tensor:
    """Return a copy with a value at the positions of dim that a vector names."""
    at = one_dim(dim, input.dim(), "index_fill")
    sizes = tuple([index.numel() if d == at else n for d, n in enumerate(input._sizes)])
    source = expand(operands.to_tensor(value, input.dtype), sizes)
    return index_copy(input, at, index, source)


def masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """Return a copy with a value where the mask holds."""
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(
            f"masked_fill: expected mask dtype to be bool, but it is {mask.dtype.torch_name}"
        )
    filled = arithmetic.where_tensor(mask, operands.to_tensor(value, input.dtype), input)
    return labelled(filled, "masked_fill")


def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements of the flat input at the positions that index names."""
    return index_by(views.reshape(input, -1), [_positions(index, "take")])


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return input[…, indices[…, i, …], …] along dim, broadcasting both."""
    if dim is None:
        return gather(views.reshape(input, -1), 0, views.reshape(indices, -1))
    at = one_dim(dim, input.dim(), "take_along_dim")
    batch = promotion.broadcast(
        *[tuple([1 if d == at else n for d, n in enumerate(x._sizes)]) for x in (input, indices)],
        op="take_along_dim",
    )
    spread = [
        views.expand(x, [x._sizes[d] if d == at else n for d, n in enumerate(batch)])
        for x in (input, indices)
    ]
    return gather(spread[0], at, spread[1])


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return rows of int64 that are 1 at the class and 0 elsewhere; -1 finds how many there are."""
    if tensor.dtype is not dtypes.int64:
        raise DTypeError(f"one_hot: classes must be int64, not {tensor.dtype.torch_name}")
    if num_classes == -1:
        array = tensor._concrete("one_hot() without num_classes looks for the greatest class")
        if not array.size:
            raise TypeInferenceError("one_hot: no classes can be found in an empty tensor")
        num_classes = int(array.max()) + 1
    found = op("one_hot")
    return apply(found, (tensor,), found.attrs(classes=num_classes))
