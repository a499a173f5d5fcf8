"""Random draws. Each takes its part of a generator's stream, eagerly and compiled alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smelt import dispatch
from smelt.base import TensorBase
from smelt.dispatch import apply, cast
from smelt.functions import arithmetic, comparison, operands, ordering, reductions, views
from smelt.functions.creation import with_grad
from smelt.functions.operands import op
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError
from smelt.ir.ops.random import words_drawn
from smelt.ir.types import TensorType
from smelt.random import Generator, default_generator
from smelt.runtime.device import require as check_device
from smelt.state import settings

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def draw(name: str, generator: Generator | None, **attrs: Any) -> Tensor:
    """Apply a random op to the next part of a generator's stream."""
    found = op(name)
    given = found.attrs(**attrs)
    blocks = words_drawn(name, given)
    assert isinstance(blocks, int)
    seed, offset = dispatch.random_state(generator or default_generator, blocks)
    return apply(found, (seed, offset), given)


def _float(dtype: DType | None, function: str) -> DType:
    chosen = settings.default_dtype if dtype is None else dtype
    if not chosen.is_floating_point:
        raise DTypeError(f"{function}: not defined for {chosen.torch_name}, only for floats")
    return chosen


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn uniformly from [0, 1)."""
    check_device(device)
    shape = views.sizes_of(sizes, size)
    found = draw("uniform", generator, shape=shape, dtype=_float(dtype, "rand"))
    return with_grad(found, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers drawn from the standard normal distribution."""
    check_device(device)
    shape = views.sizes_of(sizes, size)
    found = draw("normal", generator, shape=shape, dtype=_float(dtype, "randn"))
    return with_grad(found, requires_grad)


def randint(
    *bounds: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    low: int | None = None,
    high: int | None = None,
    size: Sequence[int] | None = None,
) -> Tensor:
    """Return integers drawn uniformly from [low, high): `randint([low,] high, size)`."""
    check_device(device)
    given = list(bounds)
    shape = given.pop() if size is None else size
    limit = int(given.pop() if high is None else high)
    least = int((given.pop() if given else 0) if low is None else low)
    if least >= limit:
        raise ArgumentError(f"randint: from ({least}) must be below to ({limit})")
    found = draw(
        "randint",
        generator,
        shape=views.sizes_of((shape,)),
        dtype=dtype or dtypes.int64,
        low=least,
        high=limit,
    )
    return with_grad(found, requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
) -> Tensor:
    """Return the integers below n in random order."""
    check_device(device)
    return cast(draw("randperm", generator, n=int(n)), dtype or dtypes.int64)


def rand_like(input: Tensor, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return uniform draws of the shape and dtype of the input."""
    return rand(tuple(input._sizes), dtype=dtype or input.dtype, device=device)


def randn_like(input: Tensor, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Return normal draws of the shape and dtype of the input."""
    return randn(tuple(input._sizes), dtype=dtype or input.dtype, device=device)


def randint_like(input: Tensor, *bounds: int, dtype: DType | None = None) -> Tensor:
    """Return integer draws of the shape and dtype of the input."""
    return randint(*bounds, tuple(input._sizes), dtype=dtype or input.dtype)


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """Return normal draws of the given mean and standard deviation, one a place if tensors."""
    if not isinstance(mean, TensorBase) and not isinstance(std, TensorBase):
        if size is None:
            raise TypeError("normal(): with numbers as mean and std, size must be given")
        _expect_spread(std)
        return draw(
            "normal",
            generator,
            shape=views.sizes_of((size,)),
            dtype=_float(dtype, "normal"),
            mean=float(mean),
            std=float(std),
        )
    m, s = operands.meet("normal", (mean, std), None)
    unit = draw("normal", generator, shape=tuple(m._sizes), dtype=m.dtype)
    return arithmetic.add(arithmetic.mul(unit, s), m)


def _expect_spread(std: float) -> None:
    if std < 0:
        raise TypeInferenceError(f"normal expects std >= 0.0, but found std {std}")


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Return 1 with the probability that each element states (or `p`), else 0."""
    if p is not None:
        return draw(
            "bernoulli", generator, shape=tuple(input._sizes), dtype=input.dtype, p=float(p)
        )
    dtype = _float(input.dtype, "bernoulli")
    drawn = draw("uniform", generator, shape=tuple(input._sizes), dtype=dtype)
    return cast(comparison.lt(drawn, views.detach(input)), input.dtype)


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return classes drawn with the weights that each row states.

    With replacement a uniform number is looked up in the running sum of the weights. Without, the
    classes with the greatest -log(u)⁻¹ · weight win: an exponential race (Efraimidis and
    Spirakis, "Weighted random sampling with a reservoir", 2006).
    """
    if input.dim() not in (1, 2) or not input.dtype.is_floating_point:
        raise TypeInferenceError(
            "multinomial: needs 1 or 2 dimensions of floating weights, but has "
            f"{input.dtype.torch_name} of shape {list(input._sizes)}"
        )
    weights = views.detach(input)
    if replacement:
        total = reductions.cumsum(weights, -1)
        shape = (*input._sizes[:-1], num_samples)
        drawn = draw("uniform", generator, shape=shape, dtype=input.dtype)
        last = views.narrow(total, -1, input._sizes[-1] - 1, 1)
        found = ordering.searchsorted(total, arithmetic.mul(drawn, last), right=True)
        return arithmetic.clamp(found, max=input._sizes[-1] - 1)
    if num_samples > input._sizes[-1]:
        raise TypeInferenceError(
            f"multinomial: cannot draw {num_samples} samples without replacement from "
            f"{input._sizes[-1]} classes"
        )
    drawn = draw("uniform", generator, shape=tuple(input._sizes), dtype=input.dtype)
    race = arithmetic.div(arithmetic.neg(arithmetic.sub(1, drawn).log()), weights)
    return ordering.topk(race, num_samples, -1, largest=False).indices


def dropout_draw(input: Tensor, p: float, generator: Generator | None = None) -> Tensor:
    """Return the input with elements zeroed with probability p, the others scaled by 1/(1 - p)."""
    found = op("dropout")
    attrs = found.attrs(p=float(p))
    kind = TensorType(input.dtype, tuple(input._sizes))
    blocks = words_drawn("dropout", attrs, kind)
    assert isinstance(blocks, int)
    seed, offset = dispatch.random_state(generator or default_generator, blocks)
    return apply(found, (input, seed, offset), attrs)


def uniform(
    input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Return uniform draws from [from, to) of the shape and dtype of the input."""
    return draw(
        "uniform",
        generator,
        shape=tuple(input._sizes),
        dtype=_float(input.dtype, "uniform_"),
        low=float(from_),
        high=float(to),
    )


def exponential(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Return draws from the exponential distribution of rate lambd."""
    dtype = _float(input.dtype, "exponential_")
    drawn = draw("uniform", generator, shape=tuple(input._sizes), dtype=dtype)
    return arithmetic.div(arithmetic.neg(arithmetic.sub(1, drawn).log()), lambd)


def normal_of(
    input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Return normal draws of the shape and dtype of the input."""
    _expect_spread(std)
    return draw(
        "normal",
        generator,
        shape=tuple(input._sizes),
        dtype=_float(input.dtype, "normal_"),
        mean=float(mean),
        std=float(std),
    )


def random(
    input: Tensor,
    from_: int = 0,
    to: int | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return integers drawn from [from, to), by default all that the dtype holds exactly."""
    if to is None:
        from_, to = 0, _integers_of(input.dtype)
    shape = tuple(input._sizes)
    found = draw("randint", generator, shape=shape, dtype=dtypes.int64, low=from_, high=to)
    return cast(found, input.dtype)


def _integers_of(dtype: DType) -> int:
    if dtype.is_floating_point:
        return 2 ** {"float16": 11, "bfloat16": 8, "float32": 24}.get(dtype.torch_name, 53)
    return 2 if dtype is dtypes.bool_ else 2 ** (min(dtype.bits, 64) - dtype.is_signed) - 1
