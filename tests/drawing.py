"""How operands and attributes of each op are drawn for random graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smelt.ir import dtypes, registry
from smelt.ir.constant import ConstantValue
from smelt.ir.graph import Value
from smelt.ir.infer import infer_types
from smelt.ir.types import TensorType

from tests.strategies import DTYPES, FLOATS, MAX_RANK, NUMBERS, SIZES, Sketch

Rule = Callable[[Sketch, str], None]


def append(s: Sketch, op: str) -> None:
    """Append `op` to the sketch, with operands and attributes drawn at random."""
    RULES.get(op, elementwise)(s, op)


def elementwise(s: Sketch, op: str) -> None:
    arity = len(registry.OPS[op].operands)
    present = [v.type.dtype for v in reversed(s.values) if v.type.dtype in DTYPES]
    others = sorted(DTYPES, key=lambda d: (d not in s.preferred, s.random.random()))
    for dtype in (*present, *others):
        if s.fits(op, [TensorType(dtype, ())] * arity):
            first = s.some((dtype,))
            s.apply(op, [first, *(s.like(first) for _ in range(arity - 1))])
            return
    raise AssertionError(f"say in tests/drawing.py how to draw operands of {op}")


def dividing(s: Sketch, op: str) -> None:
    """Draw a second operand that is never zero, nor negative."""
    allowed = [d for d in NUMBERS if s.fits(op, [TensorType(d, ())] * 2)]
    x = s.some(allowed)
    s.apply(op, [x, s.fresh(x.type.dtype, x.type.sizes, 1, 4)])


def where(s: Sketch, op: str) -> None:
    x = s.some()
    condition = s.some((dtypes.bool_,))
    if condition.type.shape != x.type.shape:
        condition = s.fresh(dtypes.bool_, x.type.sizes)
    s.apply(op, [condition, x, s.like(x)])


def cast(s: Sketch, op: str) -> None:
    x, target = s.some(), s.pick(s.preferred)
    if x.type.dtype.is_floating_point and target.is_integer:
        # What does not fit the integer type is an error from data.
        special, s.special = s.special, False
        x = s.fresh(x.type.dtype, x.type.sizes, 0, 6)
        s.special = special
    s.apply(op, [x], dtype=target)


def bitcast(s: Sketch, op: str) -> None:
    x = s.some(NUMBERS)
    s.apply(op, [x], dtype=s.pick([d for d in NUMBERS if d.bits == x.type.dtype.bits]))


def constant(s: Sketch, op: str) -> None:
    array = s.elements(s.pick(DTYPES), s.shape(), -6, 6)
    s.apply(op, [], value=ConstantValue(array))


def dim_value(s: Sketch, op: str) -> None:
    s.apply(op, [], dim=s.number(0, 5))


def full(s: Sketch, op: str) -> None:
    dtype = s.pick(DTYPES)
    value = s.elements(dtype, (1,), -6, 6)[0]
    if dtype is dtypes.bool_:
        number: bool | int | float = bool(value)
    else:
        number = float(value) if dtype.is_floating_point else int(value)
    s.apply(op, [], value=number, dtype=dtype, shape=s.shape())


def iota(s: Sketch, op: str) -> None:
    shape = s.shape(1)
    s.apply(op, [], shape=shape, dim=s.number(0, len(shape) - 1), dtype=s.pick(NUMBERS))


def reshape(s: Sketch, op: str) -> None:
    x = s.some()
    rest, shape = x.type.size, list[int]()
    while isinstance(rest, int) and len(shape) < MAX_RANK - 1 and rest:
        factor = s.pick([f for f in range(1, rest + 1) if rest % f == 0])
        shape.append(factor)
        rest //= factor
    s.apply(op, [x], shape=(*shape, rest))


def permute(s: Sketch, op: str) -> None:
    x = s.some()
    s.apply(op, [x], dims=tuple(int(d) for d in s.random.permutation(x.type.rank)))


def expand(s: Sketch, op: str) -> None:
    x = s.some()
    stretched = tuple(s.pick(SIZES) if d == 1 else d for d in x.type.sizes)
    leading = s.shape(0, MAX_RANK - x.type.rank)
    s.apply(op, [x], shape=(*leading, *stretched))


def _slicing(s: Sketch, x: Value) -> dict[str, Any]:
    starts = tuple(s.number(0, d) for d in x.type.sizes)
    stops = tuple(s.number(a, d) for a, d in zip(starts, x.type.sizes))
    return {"starts": starts, "stops": stops, "steps": tuple(s.number(1, 3) for _ in starts)}


def slicing(s: Sketch, op: str) -> None:
    x = s.some()
    s.apply(op, [x], **_slicing(s, x))


def _given(op: str, attrs: dict[str, Any], *types: TensorType) -> tuple[TensorType, ...]:
    """Return the types that an op would give."""
    definition = registry.OPS[op]
    return infer_types(definition, definition.attrs(**attrs), types)


def slice_scatter(s: Sketch, op: str) -> None:
    x = s.some()
    attrs = _slicing(s, x)
    (part,) = _given("slice", attrs, x.type)
    s.apply(op, [x, s.fresh(part.dtype, part.sizes)], **attrs)


def _subset(s: Sketch, rank: int) -> tuple[int, ...]:
    return tuple(d for d in range(rank) if s.number(0, 1))


def flip(s: Sketch, op: str) -> None:
    x = s.some()
    s.apply(op, [x], dims=_subset(s, x.type.rank))


def pad(s: Sketch, op: str) -> None:
    x = s.some()
    low = tuple(s.number(0, 2) for _ in x.type.shape)
    high = tuple(s.number(0, 2) for _ in x.type.shape)
    number = 1.0 if x.type.dtype.is_floating_point else x.type.dtype.is_integer or True
    s.apply(op, [x], low=low, high=high, value=number)


def cat(s: Sketch, op: str) -> None:
    x = s.some(low=1)
    dim = s.number(0, x.type.rank - 1)
    others = list[Value]()
    for _ in range(s.number(0, 2)):
        shape = (*x.type.sizes[:dim], s.pick(SIZES), *x.type.sizes[dim + 1 :])
        others.append(s.fresh(x.type.dtype, shape))
    s.apply(op, [x, *others], dim=dim)


def _windows(s: Sketch, length: int) -> dict[str, Any]:
    return {"size": s.number(1, length), "step": s.number(1, 2)}


def unfold(s: Sketch, op: str) -> None:
    x = s.some(low=1, high=MAX_RANK - 1, filled=True)
    dim = s.number(0, x.type.rank - 1)
    s.apply(op, [x], dim=dim, **_windows(s, x.type.sizes[dim]))


def fold(s: Sketch, op: str) -> None:
    length, dim = s.number(1, 4), s.number(0, 1)
    attrs = {"dim": dim, **_windows(s, length)}
    shape = (2, length) if dim else (length, 2)
    (windows,) = _given("unfold", attrs, TensorType(s.pick(FLOATS), shape))
    x = s.fresh(windows.dtype, windows.sizes)
    s.apply(op, [x], dim=dim, length=length, step=attrs["step"])


def _diagonal(s: Sketch, x: Value) -> dict[str, int]:
    first, second = (int(d) for d in s.random.permutation(x.type.rank)[:2])
    rows, columns = x.type.sizes[first], x.type.sizes[second]
    return {"offset": s.number(-rows, columns), "dim1": first, "dim2": second}


def diagonal(s: Sketch, op: str) -> None:
    x = s.some(low=2)
    s.apply(op, [x], **_diagonal(s, x))


def diagonal_scatter(s: Sketch, op: str) -> None:
    x = s.some(low=2)
    attrs = _diagonal(s, x)
    (part,) = _given("diagonal", attrs, x.type)
    s.apply(op, [x, s.fresh(part.dtype, part.sizes)], **attrs)


def _strided(s: Sketch, overlapping: bool) -> tuple[dict[str, Any], int]:
    """Draw a view through strides, and the number of elements that it reaches over."""
    sizes, strides, step = s.shape(0, 3), list[int](), 1
    for size in reversed(sizes):
        strides.insert(0, s.number(0, 2) if overlapping else step)
        step *= max(size, 1)
    offset = s.number(0, 2)
    reach = offset + 1 + sum(max(n - 1, 0) * m for n, m in zip(sizes, strides))
    return {"sizes": sizes, "strides": tuple(strides), "offset": offset}, reach


def as_strided(s: Sketch, op: str) -> None:
    attrs, reach = _strided(s, overlapping=True)
    s.apply(op, [s.fresh(s.pick(DTYPES), (reach + s.number(0, 2),))], **attrs)


def as_strided_scatter(s: Sketch, op: str) -> None:
    attrs, reach = _strided(s, overlapping=False)
    flat = s.fresh(s.pick(DTYPES), (reach + s.number(0, 2),))
    s.apply(op, [flat, s.fresh(flat.type.dtype, attrs["sizes"])], **attrs)


def reduction(s: Sketch, op: str) -> None:
    whole = [TensorType(d, (2,)) for d in DTYPES]
    allowed = [t.dtype for t in whole if _takes(op, {"dims": (0,)}, t)]
    x = s.some(allowed, filled=op in ("amax", "amin"))
    s.apply(op, [x], dims=_subset(s, x.type.rank))


def _takes(op: str, attrs: dict[str, Any], *types: TensorType) -> bool:
    try:
        _given(op, attrs, *types)
    except RuntimeError:
        return False
    return True


def arg_reduction(s: Sketch, op: str) -> None:
    x = s.some(NUMBERS, filled=True)
    dims = [None, *range(x.type.rank)]
    s.apply(op, [x], dim=s.pick(dims))


def scan(s: Sketch, op: str) -> None:
    whole = [TensorType(d, (2,)) for d in DTYPES]
    extra = {"descending": s.number(0, 1) == 1} if op == "sort" else {}
    allowed = [t.dtype for t in whole if _takes(op, {"dim": 0, **extra}, t)]
    x = s.some(allowed, low=1)
    s.apply(op, [x], dim=s.number(0, x.type.rank - 1), **extra)


def matmul(s: Sketch, op: str) -> None:
    a = s.some(FLOATS, low=2)
    *batch, _, inner = a.type.sizes
    s.apply(op, [a, s.fresh(a.type.dtype, (*batch, inner, s.pick(SIZES)))])


def _window(s: Sketch, rank: int) -> dict[str, tuple[int, ...]]:
    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(s.number(low, high) for _ in range(rank))

    return {"stride": each(1, 2), "padding": each(0, 1), "dilation": each(1, 2)}


def _convolution(s: Sketch) -> tuple[dict[str, Any], TensorType, TensorType]:
    rank, groups = s.number(1, 2), s.number(1, 2)
    dtype = s.pick(FLOATS)
    kernel = tuple(s.number(1, 2) for _ in range(rank))
    spatial = tuple(s.number(3, 4) for _ in range(rank))
    x = TensorType(dtype, (s.pick((1, 2)), groups * s.number(1, 2), *spatial))
    w = TensorType(dtype, (groups * s.number(1, 2), x.sizes[1] // groups, *kernel))
    return {**_window(s, rank), "groups": groups}, x, w


def conv(s: Sketch, op: str) -> None:
    attrs, x, w = _convolution(s)
    s.apply(op, [s.fresh(x.dtype, x.sizes), s.fresh(w.dtype, w.sizes)], **attrs)


def conv_input_grad(s: Sketch, op: str) -> None:
    attrs, x, w = _convolution(s)
    (out,) = _given("conv", attrs, x, w)
    operands = [s.fresh(out.dtype, out.sizes), s.fresh(w.dtype, w.sizes)]
    s.apply(op, operands, input_shape=x.sizes[2:], **attrs)


def conv_weight_grad(s: Sketch, op: str) -> None:
    attrs, x, w = _convolution(s)
    (out,) = _given("conv", attrs, x, w)
    operands = [s.fresh(x.dtype, x.sizes), s.fresh(out.dtype, out.sizes)]
    s.apply(op, operands, kernel=w.sizes[2:], **attrs)


def _pooled(s: Sketch) -> tuple[Value, dict[str, Any]]:
    rank = s.number(1, 2)
    spatial = tuple(s.number(3, 4) for _ in range(rank))
    x = s.fresh(s.pick(FLOATS), (s.pick((1, 2)), s.pick((1, 2)), *spatial))
    attrs: dict[str, Any] = _window(s, rank)
    return x, {**attrs, "kernel": (2,) * rank}


def max_pool(s: Sketch, op: str) -> None:
    x, attrs = _pooled(s)
    s.apply(op, [x], ceil_mode=s.number(0, 1) == 1, **attrs)


def max_pool_grad(s: Sketch, op: str) -> None:
    x, attrs = _pooled(s)
    out, indices = s.apply("max_pool", [x], ceil_mode=False, **attrs)
    g = s.fresh(out.type.dtype, out.type.sizes)
    s.apply(op, [g, indices], input_shape=x.type.sizes[2:], **attrs)


def _averaging(s: Sketch) -> tuple[Value, dict[str, Any]]:
    x, attrs = _pooled(s)
    del attrs["dilation"]
    attrs["ceil_mode"] = s.number(0, 1) == 1
    attrs["count_include_pad"] = s.number(0, 1) == 1
    return x, {**attrs, "divisor": s.pick((None, 3))}


def avg_pool(s: Sketch, op: str) -> None:
    x, attrs = _averaging(s)
    s.apply(op, [x], **attrs)


def avg_pool_grad(s: Sketch, op: str) -> None:
    x, attrs = _averaging(s)
    (out,) = _given("avg_pool", attrs, x.type)
    g = s.fresh(out.dtype, out.sizes)
    s.apply(op, [g], input_shape=x.type.sizes[2:], **attrs)


def adaptive(s: Sketch, op: str) -> None:
    x, _ = _pooled(s)
    sizes = tuple(s.number(1, 3) for _ in x.type.shape[2:])
    s.apply(op, [x], **{"input_shape" if op.endswith("grad") else "output": sizes})


def _index(s: Sketch, shape: tuple[int, ...], limit: int) -> Value:
    return s.fresh(dtypes.int64, shape, 0, limit - 1)


def embedding(s: Sketch, op: str) -> None:
    weight = s.some(FLOATS, low=1, high=2, filled=True)
    s.apply(op, [weight, _index(s, s.shape(0, 2), weight.type.sizes[0])])


def gather(s: Sketch, op: str) -> None:
    x = s.some(low=1, filled=True)
    dim = s.number(0, x.type.rank - 1)
    shape = tuple(s.pick(SIZES) if d == dim else s.number(0, n) for d, n in enumerate(x.type.sizes))
    s.apply(op, [x, _index(s, shape, x.type.sizes[dim])], dim=dim)


def scatter(s: Sketch, op: str) -> None:
    x = s.some(NUMBERS if op == "scatter_add" else DTYPES, low=1, filled=True)
    dim = s.number(0, x.type.rank - 1)
    shape = tuple(s.pick(SIZES) if d == dim else s.number(0, n) for d, n in enumerate(x.type.sizes))
    index = _index(s, shape, x.type.sizes[dim])
    source = s.fresh(x.type.dtype, tuple(n + s.number(0, 1) for n in shape))
    s.apply(op, [x, index, source], dim=dim)


def index_select(s: Sketch, op: str) -> None:
    x = s.some(low=1, filled=True)
    dim = s.number(0, x.type.rank - 1)
    s.apply(op, [x, _index(s, s.shape(1, 1), x.type.sizes[dim])], dim=dim)


def index_add(s: Sketch, op: str) -> None:
    x = s.some(NUMBERS, low=1, filled=True)
    dim = s.number(0, x.type.rank - 1)
    index = _index(s, s.shape(1, 1), x.type.sizes[dim])
    shape = (*x.type.sizes[:dim], *index.type.sizes, *x.type.sizes[dim + 1 :])
    s.apply(op, [x, index, s.fresh(x.type.dtype, shape)], dim=dim)


def _advanced(s: Sketch, allowed: tuple[Any, ...]) -> tuple[Value, tuple[int, ...], list[Value]]:
    x = s.some(allowed, low=1, high=3, filled=True)
    dims = _subset(s, x.type.rank) or (0,)
    shape = s.shape(0, 1)
    indices = list[Value]()
    for d in dims:
        size = x.type.sizes[d]
        indices.append(s.fresh(dtypes.int64, shape, -size, size - 1))
    return x, dims, indices


def index(s: Sketch, op: str) -> None:
    x, dims, indices = _advanced(s, DTYPES)
    s.apply(op, [x, *indices], dims=dims)


def index_put(s: Sketch, op: str) -> None:
    x, dims, indices = _advanced(s, NUMBERS)
    (part,) = _given("index", {"dims": dims}, x.type, *(v.type for v in indices))
    values = s.fresh(part.dtype, part.sizes)
    s.apply(op, [x, values, *indices], dims=dims, accumulate=s.number(0, 1) == 1)


def one_hot(s: Sketch, op: str) -> None:
    classes = s.number(1, 3)
    s.apply(op, [_index(s, s.shape(0, MAX_RANK - 1), classes)], classes=classes)


def philox(s: Sketch, op: str) -> None:
    state = [s.fresh(dtypes.int64, (), 0, 1000) for _ in range(2)]
    s.apply(op, state, shape=s.shape(0, 3), words=s.number(1, 2))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("floordiv", "mod", "truncdiv", "rem", "pow"), dividing),
    **dict.fromkeys(("sum", "prod", "amax", "amin", "any", "all"), reduction),
    **dict.fromkeys(("argmax", "argmin"), arg_reduction),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "sort"), scan),
    **dict.fromkeys(("scatter", "scatter_add"), scatter),
    **dict.fromkeys(("adaptive_avg_pool", "adaptive_avg_pool_grad", "adaptive_max_pool"), adaptive),
    "where": where,
    "cast": cast,
    "bitcast": bitcast,
    "constant": constant,
    "dim_value": dim_value,
    "full": full,
    "iota": iota,
    "reshape": reshape,
    "permute": permute,
    "expand": expand,
    "slice": slicing,
    "slice_scatter": slice_scatter,
    "flip": flip,
    "pad": pad,
    "cat": cat,
    "unfold": unfold,
    "fold": fold,
    "diagonal": diagonal,
    "diagonal_scatter": diagonal_scatter,
    "as_strided": as_strided,
    "as_strided_scatter": as_strided_scatter,
    "matmul": matmul,
    "conv": conv,
    "conv_input_grad": conv_input_grad,
    "conv_weight_grad": conv_weight_grad,
    "max_pool": max_pool,
    "max_pool_grad": max_pool_grad,
    "avg_pool": avg_pool,
    "avg_pool_grad": avg_pool_grad,
    "embedding": embedding,
    "gather": gather,
    "index_select": index_select,
    "index": index,
    "index_add": index_add,
    "index_put": index_put,
    "one_hot": one_hot,
    "philox": philox,
}
