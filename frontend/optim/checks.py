"""Checks of the options that optimisers take."""

from __future__ import annotations

from typing import Any

from smelt.tensor import Tensor


def not_negative(name: str, value: Any) -> None:
    """Raise a ValueError if a number is negative or a tensor has several elements."""
    if isinstance(value, Tensor):
        if value._layout.size != 1:
            raise ValueError(f"Tensor {name} must be 1-element, got shape {list(value._sizes)}")
    elif not value >= 0:
        raise ValueError(f"Invalid {name}: {value}")


def below_one(name: str, value: Any) -> None:
    """Raise a ValueError unless a number is in [0, 1)."""
    if not isinstance(value, Tensor) and not 0 <= value < 1:
        raise ValueError(f"Invalid {name}: {value}")


def implementation(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Check the options that choose between PyTorch's implementations; here there is one."""
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise RuntimeError(
            "differentiable=True is not supported: an update is one op, without a derivative; "
            "write the update with tensor operations to differentiate through it"
        )
