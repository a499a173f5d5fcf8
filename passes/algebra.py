"""Identities of single ops, used by canonicalisation. Graph IR to graph IR.

Every rule keeps the bits of eager's result, NaN, infinities and signed zeros included: `x + 0.0` is
not `x` (it turns -0.0 into 0.0), but `x + -0.0` and `x - 0.0` are. A rule gives what stands for the
node's result, or None where it does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from smelt.ir import dim as dims
from smelt.ir.builder import GraphBuilder
from smelt.ir.dtypes import DType, Kind
from smelt.ir.graph import Node, Value
from smelt.ir.scalar import Scalar, as_python
from smelt.passes.rewrite import with_attrs

Rule = Callable[[GraphBuilder, Node], Value | None]

_MANTISSA = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}


def simplify(builder: GraphBuilder, node: Node) -> Value | None:
    """Return what stands for the one result of `node` by the first rule that applies."""
    for rule in RULES.get(node.op.name, ()):
        found = rule(builder, node)
        if found is not None:
            return found
    return None


def uniform(builder: GraphBuilder, value: Value) -> Scalar | None:
    """Return the number that fills `value`, if it is known to be filled with one."""
    node = builder.producer(value)
    if node is None or node.op.name != "full" or value.type.dtype.is_complex:
        return None
    dtype = value.type.dtype
    return as_python(np.array(node.attrs.value).astype(dtype.numpy), dtype)


def _is(builder: GraphBuilder, value: Value, number: float) -> bool:
    """Tell whether `value` is filled with `number`, the sign of a zero included."""
    found = uniform(builder, value)
    return (
        found is not None
        and found == number
        and (number != 0 or math.copysign(1.0, float(found)) == math.copysign(1.0, number))
    )


def _given_by(builder: GraphBuilder, value: Value, op: str) -> Node | None:
    node = builder.producer(value)
    return node if node is not None and node.op.name == op else None


def _inexact_zero(x: Value) -> bool:
    return x.type.dtype.kind is Kind.FLOAT


def _add_zero(b: GraphBuilder, node: Node) -> Value | None:
    """X + 0 -> x for integers, x + -0.0 -> x for floats."""
    x, y = node.inputs
    zero = -0.0 if _inexact_zero(x) else 0
    return x if _is(b, y, zero) else y if _is(b, x, zero) else None


def _add_negative(b: GraphBuilder, node: Node) -> Value | None:
    """X + -y -> x - y, -x + y -> y - x."""
    x, y = node.inputs
    negated = _given_by(b, y, "neg")
    if negated is not None:
        return b("sub", x, negated.inputs[0])
    negated = _given_by(b, x, "neg")
    return None if negated is None else b("sub", y, negated.inputs[0])


def _sub_zero(b: GraphBuilder, node: Node) -> Value | None:
    """X - 0 -> x."""
    x, y = node.inputs
    return x if _is(b, y, 0.0) else None


def _sub_self(b: GraphBuilder, node: Node) -> Value | None:
    """X - x -> 0 for integers; for floats it may be NaN."""
    x, y = node.inputs
    return b.full(0, x.type) if x is y and x.type.dtype.is_integer else None


def _sub_negative(b: GraphBuilder, node: Node) -> Value | None:
    """X - -y -> x + y."""
    x, y = node.inputs
    negated = _given_by(b, y, "neg")
    return None if negated is None else b("add", x, negated.inputs[0])


def _mul_one(b: GraphBuilder, node: Node) -> Value | None:
    """X * 1 -> x."""
    x, y = node.inputs
    return x if _is(b, y, 1) else y if _is(b, x, 1) else None


def _mul_zero(b: GraphBuilder, node: Node) -> Value | None:
    """X * 0 -> 0 for integers; for floats it may be NaN or -0.0."""
    x, y = node.inputs
    if _inexact_zero(x):
        return None
    return y if _is(b, y, 0) else x if _is(b, x, 0) else None


def _divide_by_one(b: GraphBuilder, node: Node) -> Value | None:
    """X / 1 -> x."""
    x, y = node.inputs
    return x if _is(b, y, 1) else None


def _divide_by_power_of_two(b: GraphBuilder, node: Node) -> Value | None:
    """X / 2**k -> x * 2**-k, where both are normal numbers, so that no bit differs."""
    x, y = node.inputs
    divisor = uniform(b, y)
    if divisor is None or divisor == 0 or not math.isfinite(divisor):
        return None
    exact = abs(math.frexp(divisor)[0]) == 0.5 and abs(math.frexp(divisor)[1]) < 14
    return b("mul", x, b.full(1.0 / divisor, y.type)) if exact else None


def _power(b: GraphBuilder, node: Node) -> Value | None:
    """X ** 1 -> x, x ** 2 -> x * x."""
    x, y = node.inputs
    if _is(b, y, 1):
        return x
    return b("mul", x, x) if _is(b, y, 2) else None


def _same_operands(b: GraphBuilder, node: Node) -> Value | None:
    """op(x, x) -> x for an op that chooses one of its operands."""
    x, y = node.inputs
    return x if x is y else None


def _involution(b: GraphBuilder, node: Node) -> Value | None:
    """op(op(x)) -> x."""
    inner = _given_by(b, node.inputs[0], node.op.name)
    return None if inner is None else inner.inputs[0]


def _idempotent(b: GraphBuilder, node: Node) -> Value | None:
    """op(op(x)) -> op(x)."""
    return None if _given_by(b, node.inputs[0], node.op.name) is None else node.inputs[0]


def _where_known(b: GraphBuilder, node: Node) -> Value | None:
    """where(true, x, y) -> x, where(false, x, y) -> y, where(c, x, x) -> x."""
    condition, x, y = node.inputs
    known = uniform(b, condition)
    if known is not None:
        return x if known else y
    return x if x is y else None


def keeps_values(source: DType, target: DType) -> bool:
    """Tell whether every value of `source` is one of `target`."""
    match source.kind, target.kind:
        case _ if source is target:
            return True
        case Kind.BOOL, _:
            return True
        case (Kind.UINT, Kind.UINT) | (Kind.INT, Kind.INT) | (Kind.UINT, Kind.INT):
            return target.bits > source.bits
        case Kind.UINT, Kind.FLOAT:
            return _MANTISSA[target.name] >= source.bits
        case Kind.INT, Kind.FLOAT:
            return _MANTISSA[target.name] >= source.bits - 1
        case Kind.FLOAT, Kind.FLOAT:
            return target.bits > source.bits
        case _:
            return False


def _cast_chain(b: GraphBuilder, node: Node) -> Value | None:
    """cast(cast(x, A), B) -> cast(x, B) where A holds every value of x; cast(x, x's own) -> x.

    A float that does not fit an integer type becomes whatever the conversion from its type gives,
    so a step through a float type stays unless the values fit in the end.
    """
    (x,) = node.inputs
    target = node.attrs.dtype
    if x.type.dtype is target:
        return x
    inner = _given_by(b, x, "cast")
    if inner is None:
        return None
    (origin,) = inner.inputs
    source = origin.type.dtype
    if not keeps_values(source, x.type.dtype):
        return None
    if target.is_integer and x.type.dtype.is_floating_point and not keeps_values(source, target):
        return None
    return b.cast(origin, target)


def _same_type(b: GraphBuilder, node: Node) -> Value | None:
    """op(x) -> x where the type stays as it is."""
    (x,) = node.inputs
    return x if x.type == node.outputs[0].type else None


def _last_counts(b: GraphBuilder, node: Node) -> Value | None:
    """op(op(x, s), t) -> op(x, t): reshape, expand."""
    inner = _given_by(b, node.inputs[0], node.op.name)
    return None if inner is None else with_attrs(b, node, inner.inputs[0])


def _permute(b: GraphBuilder, node: Node) -> Value | None:
    """permute(x, identity) -> x, permute(permute(x, p), q) -> permute(x, p[q])."""
    (x,) = node.inputs
    if node.attrs.dims == tuple(range(x.type.rank)):
        return x
    inner = _given_by(b, x, "permute")
    if inner is None:
        return None
    return with_attrs(
        b, node, inner.inputs[0], dims=tuple(inner.attrs.dims[d] for d in node.attrs.dims)
    )


def _flip(b: GraphBuilder, node: Node) -> Value | None:
    """flip(x, ()) -> x, flip(flip(x, d), e) -> flip(x, d xor e)."""
    (x,) = node.inputs
    if not node.attrs.dims:
        return x
    inner = _given_by(b, x, "flip")
    if inner is None:
        return None
    left = tuple(sorted(set(inner.attrs.dims) ^ set(node.attrs.dims)))
    return with_attrs(b, node, inner.inputs[0], dims=left)


def _slice(b: GraphBuilder, node: Node) -> Value | None:
    """slice(x, everything) -> x, slice(slice(x, p), q) -> slice(x, p then q)."""
    (x,) = node.inputs
    if x.type == node.outputs[0].type and all(s == 0 for s in node.attrs.starts):
        return x
    inner = _given_by(b, x, "slice")
    if inner is None or not _all_static(inner) or not _all_static(node):
        return None
    starts = tuple(
        s + t * step for s, t, step in zip(inner.attrs.starts, node.attrs.starts, inner.attrs.steps)
    )
    steps = tuple(m * n for m, n in zip(inner.attrs.steps, node.attrs.steps))
    stops = tuple(
        start + (extent - 1) * step + 1 if extent else start
        for start, step, extent in zip(starts, steps, node.outputs[0].type.sizes)
    )
    return with_attrs(b, node, inner.inputs[0], starts=starts, stops=stops, steps=steps)


def _all_static(node: Node) -> bool:
    a = node.attrs
    return node.outputs[0].type.is_static and dims.is_static(*a.starts, *a.stops, *a.steps)


def _only_operand(b: GraphBuilder, node: Node) -> Value | None:
    """cat(x) -> x."""
    return node.inputs[0] if len(node.inputs) == 1 else None


def _over_nothing(b: GraphBuilder, node: Node) -> Value | None:
    """sum(x, ()) -> x."""
    return node.inputs[0] if node.attrs.dims == () else None


RULES: Mapping[str, tuple[Rule, ...]] = {
    "add": (_add_zero, _add_negative),
    "sub": (_sub_zero, _sub_self, _sub_negative),
    "mul": (_mul_one, _mul_zero),
    "div": (_divide_by_one, _divide_by_power_of_two),
    "truncdiv": (_divide_by_one,),
    "pow": (_power,),
    "maximum": (_same_operands,),
    "minimum": (_same_operands,),
    "bitwise_and": (_same_operands,),
    "bitwise_or": (_same_operands,),
    "neg": (_involution,),
    "bitwise_not": (_involution,),
    "abs": (_idempotent,),
    "floor": (_idempotent,),
    "ceil": (_idempotent,),
    "trunc": (_idempotent,),
    "round": (_idempotent,),
    "contiguous": (_idempotent,),
    "where": (_where_known,),
    "cast": (_cast_chain,),
    "reshape": (_same_type, _last_counts),
    "expand": (_same_type, _last_counts),
    "permute": (_permute,),
    "flip": (_flip,),
    "slice": (_slice,),
    "pad": (_same_type,),
    "cat": (_only_operand,),
    "sum": (_over_nothing,),
    "prod": (_over_nothing,),
    "amax": (_over_nothing,),
    "amin": (_over_nothing,),
}
