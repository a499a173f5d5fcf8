"""Views: other shapes, orders and parts of the same storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smelt.base import wrap_storage
from smelt.dispatch import apply
from smelt.functions import operands
from smelt.functions.operands import labelled, one_dim, op
from smelt.ir.errors import ArgumentError, DimensionError, TypeInferenceError
from smelt.ir.layout import Layout
from smelt.state import mode

if TYPE_CHECKING:
    from smelt.tensor import Tensor

_RESHAPE, _PERMUTE, _EXPAND, _SLICE = op("reshape"), op("permute"), op("expand"), op("slice")


def sizes_of(sizes: tuple[Any, ...], named: Any = None) -> tuple[int, ...]:
    """Return sizes given as `f(2, 3)`, as `f((2, 3))` or by name."""
    if named is not None:
        sizes = (named,)
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return tuple([n if type(n) is int else n.__index__() for n in sizes])


def resolved(sizes: tuple[int, ...], count: int, function: str) -> tuple[int, ...]:
    """Return sizes with a single -1 replaced by what makes `count` elements.

    Raises:
        RuntimeError: no size fits, or more than one is -1.
    """
    unknown = [i for i, n in enumerate(sizes) if n == -1]
    if len(unknown) > 1:
        raise ArgumentError(f"{function}: only one size may be -1, but the shape is {list(sizes)}")
    for n in sizes:
        if n < -1:
            raise ArgumentError(f"{function}: invalid size {n} in the shape {list(sizes)}")
    if unknown:
        known = 1
        for n in sizes:
            if n != -1:
                known *= n
        if known == 0 or count % known:
            raise TypeInferenceError(
                f"{function}: shape {list(sizes)} is invalid for input of size {count}"
            )
        at = unknown[0]
        return (*sizes[:at], count // known, *sizes[at + 1 :])
    total = 1
    for n in sizes:
        total *= n
    if total != count:
        raise TypeInferenceError(
            f"{function}: shape {list(sizes)} is invalid for input of size {count}"
        )
    return sizes


def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """Return the elements in another shape; a view where strides allow, else a copy."""
    wanted = resolved(sizes_of(sizes, shape), input.numel(), "reshape")
    return apply(_RESHAPE, (input,), _RESHAPE.attrs(shape=wanted))


def view(input: Tensor, *shape: Any) -> Tensor:
    """Return a view of another shape, or of another dtype.

    Raises:
        RuntimeError: the strides of the input admit no such view.
    """
    from smelt.ir.dtypes import DType

    if len(shape) == 1 and isinstance(shape[0], DType):
        return _view_dtype(input, shape[0])
    sizes = resolved(sizes_of(shape), input.numel(), "view")
    attrs = _RESHAPE.attrs(shape=sizes)
    assert _RESHAPE.view is not None
    if _RESHAPE.view(attrs, input._layout) is None:
        raise TypeInferenceError(
            f"view: a tensor of shape {list(input._sizes)} and strides "
            f"{list(input._layout.strides)} has no view of shape {list(sizes)}: "
            "at least one dimension spans two contiguous subspaces. Use .reshape(...) instead."
        )
    return apply(_RESHAPE, (input,), attrs)


def _view_dtype(input: Tensor, dtype: Any) -> Tensor:
    if input.dtype is dtype:
        return alias(input)
    if input.dtype.itemsize != dtype.itemsize:
        raise TypeInferenceError(
            f"view: {dtype.torch_name} and {input.dtype.torch_name} differ in the size of an "
            "element; only dtypes of one size may share storage"
        )
    cast = op("bitcast")
    return apply(cast, (input,), cast.attrs(dtype=dtype))


def alias(input: Tensor) -> Tensor:
    """Return a view of everything."""
    found = apply(_RESHAPE, (input,), _RESHAPE.attrs(shape=tuple(input._sizes)))
    return labelled(found, "alias")


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return a view of the shape of other."""
    return view(input, other._sizes)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the elements in the shape of other."""
    return reshape(input, other._sizes)


def ravel(input: Tensor) -> Tensor:
    """Return the elements in one dimension."""
    return reshape(input, -1) if input.numel() else reshape(input, 0)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the input with the dimensions from start_dim to end_dim joined into one."""
    sizes = input._sizes
    if not sizes:
        return reshape(input, 1)
    first = one_dim(start_dim, len(sizes), "flatten")
    last = one_dim(end_dim, len(sizes), "flatten")
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} must not come after end_dim {end_dim}")
    if first == last:
        return input
    joined = 1
    for n in sizes[first : last + 1]:
        joined *= n
    return reshape(input, (*sizes[:first], joined, *sizes[last + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return the input with one dimension split into several."""
    at = one_dim(dim, input.dim(), "unflatten")
    found = resolved(tuple(sizes), input._sizes[at], "unflatten")
    return view(input, (*input._sizes[:at], *found, *input._sizes[at + 1 :]))


def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """Return a view with the dimensions in another order."""
    given = sizes_of(order, dims)
    rank = input.dim()
    if len(given) != rank:
        raise TypeInferenceError(
            f"permute: {len(given)} dims are given for a tensor with {rank}: "
            f"shape {list(input._sizes)}, dims {list(given)}"
        )
    normal = tuple([one_dim(d, rank, "permute") for d in given])
    if len(set(normal)) != rank:
        raise TypeInferenceError(f"permute: dims {list(given)} repeat a dimension")
    return apply(_PERMUTE, (input,), _PERMUTE.attrs(dims=normal))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two dimensions exchanged."""
    rank = input.dim()
    a, b = one_dim(dim0, rank, "transpose"), one_dim(dim1, rank, "transpose")
    order = list(range(rank))
    if rank:
        order[a], order[b] = order[b], order[a]
    found = apply(_PERMUTE, (input,), _PERMUTE.attrs(dims=tuple(order)))
    return labelled(found, "transpose")


def t(input: Tensor) -> Tensor:
    """Return the transpose of a matrix; a vector as it is."""
    if input.dim() > 2:
        raise TypeInferenceError(
            f"t: expects a tensor with at most 2 dimensions, but has shape {list(input._sizes)}"
        )
    return labelled(transpose(input, 0, 1) if input.dim() == 2 else alias(input), "t")


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Return a view with some dimensions moved to other places, the rest in order."""
    rank = input.dim()
    froms = [source] if isinstance(source, int) else list(source)
    tos = [destination] if isinstance(destination, int) else list(destination)
    if len(froms) != len(tos):
        raise ArgumentError(f"movedim: {len(froms)} source dims but {len(tos)} destination dims")
    places = {
        one_dim(to, rank, "movedim"): one_dim(at, rank, "movedim") for at, to in zip(froms, tos)
    }
    if len(places) != len(froms) or len(set(places.values())) != len(froms):
        raise ArgumentError(f"movedim: repeated dims in {froms} or {tos}")
    rest = iter([d for d in range(rank) if d not in places.values()])
    return permute(input, [places[d] if d in places else next(rest) for d in range(rank)])


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Return a view without the dimensions of size 1, or without those named."""
    sizes = input._sizes
    dims = operands.many_dims(dim, len(sizes), "squeeze", empty_means_all=False)
    kept = tuple([n for d, n in enumerate(sizes) if d not in dims or n != 1])
    found = apply(_RESHAPE, (input,), _RESHAPE.attrs(shape=kept))
    return labelled(found, "squeeze" if dim is None else "squeeze@1")


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a dimension of size 1 put in at dim."""
    sizes = input._sizes
    at = one_dim(dim, len(sizes) + 1, "unsqueeze")
    found = apply(_RESHAPE, (input,), _RESHAPE.attrs(shape=(*sizes[:at], 1, *sizes[at:])))
    return labelled(found, "unsqueeze")


def expand(input: Tensor, *sizes: Any, size: Any = None) -> Tensor:
    """Return a view in which dimensions of size 1 are repeated; -1 keeps a size."""
    wanted = sizes_of(sizes, size)
    held = input._sizes
    lead = len(wanted) - len(held)
    if lead < 0:
        raise TypeInferenceError(
            f"expand: {len(wanted)} sizes are too few for a tensor of shape {list(held)}"
        )
    shape: list[int] = []
    for position, n in enumerate(wanted):
        own = held[position - lead] if position >= lead else None
        if n == -1:
            if own is None:
                raise TypeInferenceError(
                    f"expand: -1 is not allowed for the new leading dimension {position}"
                )
            n = own
        if own is not None and own not in (1, n):
            raise TypeInferenceError(
                f"expand: the expanded size of the tensor ({n}) must match the existing size "
                f"({own}) at non-singleton dimension {position}. Target sizes: {list(wanted)}. "
                f"Tensor sizes: {list(held)}"
            )
        shape.append(n)
    return apply(_EXPAND, (input,), _EXPAND.attrs(shape=tuple(shape)))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the input expanded to the shape of other."""
    return expand(input, other._sizes)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Return the input broadcast to a shape."""
    return expand(input, tuple(size))


def sliced(input: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """Return a view of positions start, start + step, … below stop of one dimension."""
    sizes = input._sizes
    return apply(
        _SLICE,
        (input,),
        _SLICE.attrs(
            starts=tuple([start if d == dim else 0 for d in range(len(sizes))]),
            stops=tuple([stop if d == dim else n for d, n in enumerate(sizes)]),
            steps=tuple([step if d == dim else 1 for d in range(len(sizes))]),
        ),
    )


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return a view of `length` positions of one dimension, from `start` on."""
    at = one_dim(dim, input.dim(), "narrow")
    size = input._sizes[at]
    first = int(start)
    if not -size <= first <= size:
        raise DimensionError(
            f"narrow: start {first} is out of range for a dimension of size {size}"
        )
    first = first + size if first < 0 else first
    if length < 0 or first + length > size:
        raise TypeInferenceError(
            f"narrow: start ({first}) + length ({length}) exceeds the size {size} of "
            f"dimension {dim}"
        )
    return sliced(input, at, first, first + length)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return a view of one position of a dimension, which goes."""
    sizes = input._sizes
    if not sizes:
        raise DimensionError("select() cannot be applied to a 0-dim tensor.")
    at = one_dim(dim, len(sizes), "select")
    size = sizes[at]
    if not -size <= index < size:
        raise DimensionError(f"index {index} is out of bounds for dimension {at} with size {size}")
    position = index + size if index < 0 else index
    part = sliced(input, at, position, position + 1)
    found = apply(_RESHAPE, (part,), _RESHAPE.attrs(shape=(*sizes[:at], *sizes[at + 1 :])))
    return labelled(found, "select")


def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Return views of consecutive parts of one dimension, of one size or of the sizes given."""
    at = one_dim(dim, tensor.dim(), "split")
    size = tensor._sizes[at]
    if isinstance(split_size_or_sections, int):
        step = split_size_or_sections
        if step < 0 or (step == 0 and size != 0):
            raise ArgumentError(f"split: the size of a part must be positive, not {step}")
        starts = range(0, size, step) if size else (0,)
        return tuple(
            [labelled(sliced(tensor, at, s, min(s + step, size)), "split") for s in starts]
        )
    parts = list(split_size_or_sections)
    if sum(parts) != size or any(n < 0 for n in parts):
        raise TypeInferenceError(
            f"split: sizes {parts} must be non-negative and sum to {size}, the size of "
            f"dimension {dim}"
        )
    found: list[Tensor] = []
    start = 0
    for n in parts:
        found.append(labelled(sliced(tensor, at, start, start + n), "split_with_sizes"))
        start += n
    return tuple(found)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return at most `chunks` views of consecutive parts, all of one size but for the last."""
    if chunks <= 0:
        raise ArgumentError(f"chunk: expects chunks to be greater than 0, got: {chunks}")
    at = one_dim(dim, input.dim(), "chunk")
    size = input._sizes[at]
    return split(input, max(1, -(-size // chunks)) if size else 0, at)


def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Return views of parts as equal as possible, or of those that end at the indices given."""
    at = one_dim(dim, input.dim(), "tensor_split")
    size = input._sizes[at]
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise ArgumentError(f"tensor_split: the number of parts must be > 0, not {count}")
        least, longer = divmod(size, count)
        return split(input, [least + (k < longer) for k in range(count)], at)
    ends = [_bounded(i, size) for i in indices_or_sections]
    starts = [0, *ends]
    return tuple(
        [sliced(input, at, s, max(s, e)) for s, e in zip(starts, [*ends, size], strict=True)]
    )


def _bounded(index: int, size: int) -> int:
    return min(max(index + size if index < 0 else index, 0), size)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return a view of each position of one dimension."""
    at = one_dim(dim, input.dim(), "unbind")
    return tuple([labelled(select(input, at, k), "unbind") for k in range(input._sizes[at])])


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a view of a diagonal, which becomes the last dimension."""
    rank = input.dim()
    a, b = one_dim(dim1, rank, "diagonal"), one_dim(dim2, rank, "diagonal")
    if a == b:
        raise TypeInferenceError(f"diagonal: dim1 {dim1} and dim2 {dim2} must differ")
    found = op("diagonal")
    return apply(found, (input,), found.attrs(offset=offset, dim1=a, dim2=b))


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return a view of all windows of a dimension; the window becomes the last dimension."""
    at = one_dim(dimension, input.dim(), "unfold")
    if input.dim() == 0:
        input = reshape(input, 1)
    if not 0 <= size <= input._sizes[at]:
        raise TypeInferenceError(
            f"unfold: maximum size for a tensor at dimension {at} is {input._sizes[at]}, "
            f"but size is {size}"
        )
    if step <= 0:
        raise ArgumentError(f"unfold: step must be greater than 0, not {step}")
    found = op("unfold")
    return apply(found, (input,), found.attrs(dim=at, size=size, step=step))


def as_strided(
    input: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """Return a view of the storage with sizes, strides and offset of its own."""
    offset = input._layout.offset if storage_offset is None else int(storage_offset)
    layout = Layout(offset, tuple(size), tuple(stride))
    if len(layout.sizes) != len(layout.strides):
        raise TypeInferenceError(
            f"as_strided: {len(layout.sizes)} sizes but {len(layout.strides)} strides"
        )
    held = input._storage.size
    if offset < 0 or any(s < 0 for s in layout.strides) or offset + layout.span > held:
        raise TypeInferenceError(
            f"as_strided: size {list(size)}, stride {list(stride)} and offset {offset} reach "
            f"outside a storage of {held} elements"
        )
    found = op("as_strided")
    attrs = found.attrs(sizes=layout.sizes, strides=layout.strides, offset=offset)
    return apply(found, (whole_storage(input),), attrs)


def whole_storage(input: Tensor) -> Tensor:
    """Return the whole storage of a tensor in one dimension, as a view of its family."""
    storage = input._storage
    layout = Layout(0, (storage.size,), (1,))
    if input._layout == layout:
        return input
    base = input if input._base is None else input._base
    if base._layout.is_contiguous and base._layout.size == storage.size:
        return apply(_RESHAPE, (base,), _RESHAPE.attrs(shape=(storage.size,)))
    if mode.grad and input.requires_grad:
        raise TypeInferenceError(
            "as_strided: a tensor that requires grad and covers a part of its storage only "
            "has no gradient through as_strided; detach() or clone() it first"
        )
    return wrap_storage(storage, layout, None, input._version_counter)


def contiguous(input: Tensor) -> Tensor:
    """Return the input itself if it is row-major, else a row-major copy."""
    return input if input._layout.is_contiguous else apply("contiguous", (input,))


def clone(input: Tensor) -> Tensor:
    """Return a copy, through which gradients flow."""
    return apply("clone", (input,))


def detach(input: Tensor) -> Tensor:
    """Return a view through which no gradient flows."""
    return apply("detach", (input,))


def mT(input: Tensor) -> Tensor:
    """Return a view with the last two dimensions exchanged."""
    if input.dim() < 2:
        raise TypeInferenceError(
            f"mT: needs at least 2 dimensions, but the shape is {list(input._sizes)}"
        )
    return transpose(input, -2, -1)


def atleast_1d(*tensors: Any) -> Any:
    """Return tensors with at least 1 dimension."""
    return _at_least(1, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Return tensors with at least 2 dimensions."""
    return _at_least(2, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Return tensors with at least 3 dimensions; a matrix gets a last one."""
    return _at_least(3, tensors)


def _at_least(rank: int, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return tuple([_raised(x, rank) for x in tensors[0]])
    found = tuple([_raised(x, rank) for x in tensors])
    return found[0] if len(found) == 1 else found


def _raised(x: Tensor, rank: int) -> Tensor:
    if x.dim() >= rank:
        return x
    if rank == 1:
        return reshape(x, 1)
    x = x if x.dim() else reshape(x, 1)
    if x.dim() == 1:
        x = unsqueeze(x, 0)
    return unsqueeze(x, -1) if rank == 3 else x
