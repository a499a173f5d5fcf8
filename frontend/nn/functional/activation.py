"""Activation functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.dispatch import apply
from smelt.functions import draws, reductions, transcendental
from smelt.functions.inplace import source, stored
from smelt.functions.operands import expect_tensor, op
from smelt.ir.errors import DTypeError
from smelt.ir.op import OpDef

if TYPE_CHECKING:
    from smelt.ir.dtypes import DType
    from smelt.tensor import Tensor


def _floating(input: Tensor, function: str) -> Tensor:
    expect_tensor(input, function, "input")
    if not input.dtype.is_floating_point:
        raise DTypeError(f"{function}: not defined for {input.dtype.torch_name}, only for floats")
    return input


def _activate(found: OpDef, input: Tensor, inplace_: bool = False, **attrs: Any) -> Tensor:
    x = source(_floating(input, found.name), inplace_)
    return stored(input, apply(found, (x,), found.attrs(**attrs)), inplace_)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return max(input, 0); NaN stays."""
    expect_tensor(input, "relu", "input")
    return stored(input, apply(op("relu"), (source(input, inplace),)), inplace)


def relu_(input: Tensor) -> Tensor:
    """Overwrite the input by max(input, 0)."""
    return relu(input, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(input, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return the input held between `min_val` and `max_val`."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _activate(op("clamp"), input, inplace, low=float(min_val), high=float(max_val))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return the input where it is positive, `negative_slope` times it elsewhere."""
    return _activate(op("leaky_relu"), input, inplace, slope=float(negative_slope))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return the input where positive, `weight` (one, or one a channel) times it elsewhere."""
    _floating(input, "prelu")
    if weight.dim() > 1 or (weight.numel() != 1 and weight.numel() != input.shape[1]):
        raise RuntimeError(
            f"prelu: weight must have one element or one for each of the channels of the input "
            f"(shape {list(input.shape)}), but has shape {list(weight.shape)}"
        )
    if weight.numel() != 1:
        weight = weight.reshape(-1, *[1] * (input.dim() - 2))
    return input.clamp(min=0) + weight * input.clamp(max=0)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input where it is positive, alpha * (exp(input) - 1) elsewhere."""
    return _activate(op("elu"), input, inplace, alpha=float(alpha))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return scale * elu(input, alpha) with the constants of self-normalising networks."""
    return stored(input, elu(source(input, inplace), _SELU_ALPHA) * _SELU_SCALE, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return max(0, input) + min(0, alpha * (exp(input / alpha) - 1))."""
    x = source(input, inplace)
    result = x.clamp(min=0) + ((x.clamp(max=0) / alpha).expm1() * alpha)
    return stored(input, result, inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return input * Phi(input), Phi the normal distribution; "tanh" approximates it."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, not {approximate!r}")
    return _activate(op("gelu"), input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input * sigmoid(input)."""
    return _activate(op("silu"), input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input * tanh(softplus(input))."""
    x = source(input, inplace)
    return stored(input, x * softplus(x).tanh(), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta * input)) / beta; the input itself where beta * input > threshold."""
    return _activate(op("softplus"), input, beta=float(beta), threshold=float(threshold))


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-input))."""
    return transcendental.sigmoid(input)


def logsigmoid(input: Tensor) -> Tensor:
    """Return log(sigmoid(input)), without overflow."""
    return _activate(op("log_sigmoid"), input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return transcendental.tanh(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input / 6 + 1/2 held between 0 and 1."""
    return stored(input, (source(input, inplace) + 3).clamp(0, 6) / 6, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return input * hardsigmoid(input)."""
    x = source(input, inplace)
    return stored(input, x * (x + 3).clamp(0, 6) / 6, inplace)


def softsign(input: Tensor) -> Tensor:
    """Return input / (1 + |input|)."""
    return input / (1 + input.abs())


def tanhshrink(input: Tensor) -> Tensor:
    """Return input - tanh(input)."""
    return input - transcendental.tanh(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return the input moved by `lambd` towards 0, 0 where it is closer."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return (input - lambd).clamp(min=0) + (input + lambd).clamp(max=0)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return the input, 0 where its absolute value is at most `lambd`."""
    return input.masked_fill(input.abs() <= lambd, 0.0)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return the input, `value` where it is at most `threshold`."""
    x = source(input, inplace)
    return stored(input, x.masked_fill(x <= threshold, value), inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along dim times the sigmoid of the second."""
    if input.shape[dim] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim} is size {input.shape[dim]}"
        )
    first, second = input.chunk(2, dim)
    return first * second.sigmoid()


def softmax(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Return exp(input) / sum(exp(input)) along dim."""
    return reductions.softmax(input, _dim_or_default(dim, input), dtype)


def softmin(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Return softmax(-input)."""
    return reductions.softmax(-input, _dim_or_default(dim, input), dtype)


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """Return log(softmax(input)), without overflow."""
    return reductions.log_softmax(input, _dim_or_default(dim, input), dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, dim: int = -1) -> Tensor:
    """Return a draw from the Gumbel-softmax distribution, one-hot if `hard`."""
    noise = -draws.exponential(logits.detach()).log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    one = soft.detach() * 0
    return one.scatter(dim, index, one + 1) - soft.detach() + soft


def _dim_or_default(dim: int | None, input: Tensor) -> int:
    return dim if dim is not None else 0 if input.dim() in (0, 1, 3) else 1
