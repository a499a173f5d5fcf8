"""Elementwise ops, movement, reductions, scans and contractions against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.op import NoVjp, OpDef, Sample

torch = pytest.importorskip("torch")

from tests.parity.twins import Twin, check_gradients, check_values  # noqa: E402

F = torch.nn.functional

Attrs = dict[str, Any]


def plain(function: Any) -> Twin:
    """Return the twin that takes the operands and no attributes."""
    return lambda a, *xs: function(*xs)


def over_dims(function: Any) -> Twin:
    """Return the twin of a reduction over `dims`, none of which means none."""
    return lambda a, x: function(x, a["dims"]) if a["dims"] else function(x[None], (0,))


def _prod(a: Attrs, x: Any) -> Any:
    for dim in reversed(a["dims"]):
        x = x.prod(dim, dtype=x.dtype)
    return x


def _cast(a: Attrs, x: Any) -> Any:
    return x.to(getattr(torch, a["dtype"].torch_name))


def _clamp(a: Attrs, x: Any) -> Any:
    low, high = (n if n is None or x.is_floating_point() else int(n) for n in (a["low"], a["high"]))
    return torch.clamp(x, low, high)


def _slices(a: Attrs) -> tuple[slice, ...]:
    return tuple(slice(*s) for s in zip(a["starts"], a["stops"], a["steps"]))


def _slice_scatter(a: Attrs, x: Any, src: Any) -> Any:
    out = x.clone()
    out[_slices(a)] = src
    return out


def _pad(a: Attrs, x: Any) -> Any:
    if x.ndim == 0:
        return x.clone()
    widths = [n for pair in zip(reversed(a["low"]), reversed(a["high"])) for n in pair]
    return F.pad(x, widths, value=a["value"])


def _diagonal(a: Attrs) -> Attrs:
    return {"offset": a["offset"], "dim1": a["dim1"], "dim2": a["dim2"]}


def _strided(a: Attrs) -> tuple[Any, ...]:
    return a["sizes"], a["strides"], a["offset"]


def _linear(a: Attrs, x: Any, weight: Any, *bias: Any) -> Any:
    return F.linear(x, weight, *bias)


_SAME_NAME = (
    "sub", "mul", "div", "maximum", "minimum", "pow", "atan2", "copysign", "bitwise_and",
    "bitwise_or", "bitwise_xor", "bitwise_not", "eq", "ne", "lt", "le", "gt", "ge", "neg", "abs",
    "floor", "ceil", "trunc", "round", "isnan", "isfinite", "isinf", "sqrt", "exp", "expm1",
    "exp2", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "rsqrt", "reciprocal", "square",
    "sigmoid", "logical_not", "relu", "matmul", "lerp", "where", "add",
)  # fmt: skip

TWINS: dict[str, Twin] = {
    **{name: plain(getattr(torch, name)) for name in _SAME_NAME},
    "sign": plain(torch.sign),
    "mod": plain(torch.remainder),
    "rem": plain(torch.fmod),
    "floordiv": plain(lambda x, y: torch.div(x, y, rounding_mode="floor")),
    "truncdiv": plain(lambda x, y: torch.div(x, y, rounding_mode="trunc")),
    "shl": plain(torch.bitwise_left_shift),
    "shr": plain(torch.bitwise_right_shift),
    "cast": _cast,
    "bitcast": lambda a, x: x.view(getattr(torch, a["dtype"].torch_name)),
    "clamp": _clamp,
    "log_sigmoid": plain(F.logsigmoid),
    "softplus": lambda a, x: F.softplus(x, **a),
    "silu": plain(F.silu),
    "leaky_relu": lambda a, x: F.leaky_relu(x, a.get("slope", 0.01)),
    "elu": lambda a, x: F.elu(x, **a),
    "gelu": lambda a, x: F.gelu(x, **a),
    "reshape": lambda a, x: x.reshape(a["shape"]),
    "permute": lambda a, x: x.permute(a["dims"]),
    "expand": lambda a, x: x.expand(a["shape"]),
    "slice": lambda a, x: x[_slices(a)].clone(),
    "slice_scatter": _slice_scatter,
    "flip": lambda a, x: x.flip(a["dims"]),
    "pad": _pad,
    "cat": lambda a, *xs: torch.cat(xs, a["dim"]),
    "stack": lambda a, *xs: torch.stack(xs, a["dim"]),
    "roll": lambda a, x: x.roll(a["shifts"], a["dims"]),
    "unfold": lambda a, x: x.unfold(a["dim"], a["size"], a["step"]),
    "diagonal": lambda a, x: x.diagonal(**_diagonal(a)),
    "diagonal_scatter": lambda a, x, s: torch.diagonal_scatter(x, s, **_diagonal(a)),
    "as_strided": lambda a, x: x.as_strided(*_strided(a)),
    "as_strided_scatter": lambda a, x, s: torch.as_strided_scatter(x, s, *_strided(a)),
    "tril": lambda a, x: x.tril(a["diagonal"]),
    "triu": lambda a, x: x.triu(a["diagonal"]),
    "sum": over_dims(lambda x, dims: torch.sum(x, dims, dtype=x.dtype)),
    "prod": _prod,
    "mean": over_dims(torch.mean),
    "var": over_dims(lambda x, dims: torch.var(x, dims, correction=1)),
    "amax": over_dims(torch.amax),
    "amin": over_dims(torch.amin),
    "any": over_dims(torch.any),
    "all": over_dims(torch.all),
    "logsumexp": over_dims(torch.logsumexp),
    "argmax": lambda a, x: torch.argmax(x, a["dim"]),
    "argmin": lambda a, x: torch.argmin(x, a["dim"]),
    "cumsum": lambda a, x: torch.cumsum(x, a["dim"], dtype=x.dtype),
    "cumprod": lambda a, x: torch.cumprod(x, a["dim"], dtype=x.dtype),
    "cummax": lambda a, x: torch.cummax(x, a["dim"]),
    "cummin": lambda a, x: torch.cummin(x, a["dim"]),
    "sort": lambda a, x: torch.sort(
        x, dim=a["dim"], descending=a.get("descending", False), stable=True
    ),
    "linear": _linear,
}

FAMILY = sorted(TWINS)

# PyTorch 2.13 keeps the gradient of `flat` where src was written and drops the rest.
WRONG = ("as_strided_scatter",)


def test_every_twin_is_an_op() -> None:
    assert set(FAMILY) <= set(registry.OPS)


def samples(op: OpDef) -> list[Sample]:
    return [s for s in op.samples() if taken_by_torch(op, s)]


WIDE_UNSIGNED = (np.uint16, np.uint32, np.uint64)
DIVISIONS = ("floordiv", "truncdiv", "mod", "rem")

# Ops that smelt takes further than PyTorch at infinities and NaN: sign(NaN) is NaN here and 0
# there, copysign has its slope at infinity too, gelu(inf) is inf and not NaN, and a running product
# divides nothing by zero.
TAKEN_FURTHER = ("sign", "abs", "copysign", "gelu", "cumprod")


def taken_by_torch(op: OpDef, sample: Sample) -> bool:
    """Tell whether PyTorch has the op for these operands, with a meaning that it states."""
    dtypes = [x.dtype for x in sample.operands]
    if any(d in WIDE_UNSIGNED for d in dtypes) and op.name not in ("cast", "bitcast"):
        return False
    match op.name:
        case "cast":
            # What does not fit into an integer is not defined there.
            return sample.differentiable or not sample.attrs["dtype"].is_integer
        case "argmax" | "argmin":
            return dtypes[0] != np.bool_
        case name if name in DIVISIONS:
            # The least integer divided by -1 stops the process there.
            return not (dtypes[0].kind == "i" and sample.operands[0].ndim == 1)
        case name if name in TAKEN_FURTHER:
            return all(np.isfinite(x.astype(np.float64)).all() for x in sample.operands)
        case _:
            return True


FEW = pytest.mark.filterwarnings("ignore:var.*degrees of freedom:UserWarning")


@FEW
@pytest.mark.parametrize("name", FAMILY)
def test_values(name: str) -> None:
    op = registry.OPS[name]
    for sample in samples(op):
        check_values(op, sample, TWINS[name])


@FEW
@pytest.mark.parametrize(
    "name", [n for n in FAMILY if not isinstance(registry.OPS[n].vjp, NoVjp) and n not in WRONG]
)
def test_gradients(name: str) -> None:
    op = registry.OPS[name]
    for sample in samples(op):
        check_gradients(op, sample, TWINS[name])
