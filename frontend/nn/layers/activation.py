"""Activations as layers; each applies the function of the same name."""

from __future__ import annotations

from typing import Any

from smelt.functions.creation import full
from smelt.ir.dtypes import DType
from smelt.nn import functional as F
from smelt.nn.module import Module
from smelt.nn.parameter import Parameter
from smelt.tensor import Tensor


def _flag(inplace: bool, first: str = "") -> str:
    parts = [first] if first else []
    return ", ".join([*parts, "inplace=True"] if inplace else parts)


class ReLU(Module):
    """Max(x, 0)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.relu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace)


class ReLU6(Module):
    """Min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.relu6(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace)


class LeakyReLU(Module):
    """X where positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace, f"negative_slope={self.negative_slope}")


class ELU(Module):
    """X where positive, alpha * (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace, f"alpha={self.alpha}")


class SELU(Module):
    """Scale * ELU(x), self-normalising."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.selu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace)


class CELU(Module):
    """Max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace, f"alpha={self.alpha}")


class GELU(Module):
    """X * Phi(x), Phi the normal distribution."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """X * sigmoid(x)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.silu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace)


class Mish(Module):
    """X * tanh(softplus(x))."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.mish(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace)


class Softplus(Module):
    """Log(1 + exp(beta * x)) / beta."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.sigmoid(input)


class LogSigmoid(Module):
    """Log(sigmoid(x))."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.logsigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.tanh(input)


class Hardtanh(Module):
    """X held between min_val and max_val."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace, f"min_val={self.min_val}, max_val={self.max_val}")


class Hardsigmoid(Module):
    """X / 6 + 1/2 held between 0 and 1."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.hardsigmoid(input, self.inplace)


class Hardswish(Module):
    """X * hardsigmoid(x)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.hardswish(input, self.inplace)


class Softsign(Module):
    """X / (1 + |x|)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.softsign(input)


class Tanhshrink(Module):
    """X - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.tanhshrink(input)


class Softshrink(Module):
    """X moved by lambd towards 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Return the settings."""
        return str(self.lambd)


class Hardshrink(Module):
    """X, 0 where |x| is at most lambd."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        """Return the settings."""
        return str(self.lambd)


class Threshold(Module):
    """X, value where x is at most threshold."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        """Return the settings."""
        return _flag(self.inplace, f"threshold={self.threshold}, value={self.value}")


class GLU(Module):
    """The first half along dim times the sigmoid of the second."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class Softmax(Module):
    """Exp(x) / sum(exp(x)) along dim."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class Softmin(Module):
    """Softmax(-x) along dim."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Log(softmax(x)) along dim."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class Softmax2d(Module):
    """Softmax over the channels of [N, C, H, W] or [C, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the channels of each place."""
        if input.dim() not in (3, 4):
            raise ValueError("Softmax2d: expected input to be 3D or 4D")
        return F.softmax(input, -3)


class PReLU(Module):
    """X where positive, a learned weight times x elsewhere.

    Attributes:
        weight: [num_parameters].
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), init, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to every element; with several weights, one a channel."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"num_parameters={self.num_parameters}"
