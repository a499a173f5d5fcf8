"""Check gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.autograd.api import grad
from smelt.autograd.modes import no_grad
from smelt.base import TensorBase, wrap
from smelt.ir import dtypes

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Function = Callable[..., Any]


class GradcheckError(RuntimeError):
    """A gradient differs from the finite difference."""


def gradcheck(
    func: Function,
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Tell whether the gradients of `func` at float64 `inputs` are its central differences.

    Every element of the Jacobian is compared: (f(x + eps) - f(x - eps)) / (2 eps).

    Raises:
        GradcheckError: they are not, unless `raise_exception` is False.
        ValueError: no input is a float64 tensor that requires grad.
    """
    given = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    wanted = [k for k, x in enumerate(given) if isinstance(x, TensorBase) and x.requires_grad]
    if not wanted or any(given[k].dtype is not dtypes.float64 for k in wanted):
        raise ValueError("gradcheck needs float64 inputs that require grad")
    try:
        _compare(func, given, wanted, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _outputs(func: Function, given: list[Any]) -> list[Tensor]:
    found = func(*given)
    return [found] if isinstance(found, TensorBase) else list(found)  # type: ignore[list-item]


def _compare(
    func: Function, given: list[Any], wanted: list[int], eps: float, atol: float, rtol: float
) -> None:
    outputs = [y for y in _outputs(func, given) if y.requires_grad]
    for number, y in enumerate(outputs):
        analytic = _analytic(y, [given[k] for k in wanted])
        for k, rows in zip(wanted, analytic):
            numeric = _numeric(func, given, k, number, eps)
            if not np.allclose(rows, numeric, rtol=rtol, atol=atol, equal_nan=True):
                worst = float(np.nanmax(np.abs(rows - numeric)))
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {k}: they "
                    f"differ by {worst:.3g}\nnumerical:\n{numeric}\nanalytical:\n{rows}"
                )


def _analytic(y: Tensor, xs: list[Tensor]) -> list[np.ndarray[Any, Any]]:
    """Return the Jacobians [outputs, inputs] of `y`, row by row of the vjp."""
    rows: list[list[np.ndarray[Any, Any]]] = [[] for _ in xs]
    for place in range(y.numel()):
        unit = np.zeros(y.numel())
        unit[place] = 1.0
        found = grad(y, xs, wrap(unit.reshape(y._sizes)), retain_graph=True, allow_unused=True)
        for row, g, x in zip(rows, found, xs):
            row.append(np.zeros(x.numel()) if g is None else g.detach().numpy().reshape(-1).copy())
    return [np.array(row).reshape(y.numel(), x.numel()) for row, x in zip(rows, xs)]


def _numeric(
    func: Function, given: list[Any], k: int, number: int, eps: float
) -> np.ndarray[Any, Any]:
    base = given[k].detach().numpy().copy()
    columns: list[np.ndarray[Any, Any]] = []
    for place in range(base.size):
        values: list[np.ndarray[Any, Any]] = []
        for sign in (1.0, -1.0):
            moved = base.copy()
            moved.reshape(-1)[place] += sign * eps
            arguments = [*given[:k], wrap(moved).requires_grad_(), *given[k + 1 :]]
            found = [y for y in _outputs(func, arguments) if y.requires_grad]
            with no_grad():
                values.append(found[number].detach().numpy().reshape(-1).copy())
        columns.append((values[0] - values[1]) / (2 * eps))
    size = columns[0].size if columns else 0
    return np.array(columns).T.reshape(size, base.size)


def gradgradcheck(
    func: Function,
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Tell whether the second derivatives of `func` are the central differences of the first."""
    given = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    wanted = [k for k, x in enumerate(given) if isinstance(x, TensorBase) and x.requires_grad]
    rng = np.random.default_rng(0)
    outputs = [y for y in _outputs(func, given) if y.requires_grad]
    cotangents = [wrap(rng.standard_normal(y._sizes)).requires_grad_() for y in outputs]

    def first(*arguments: Any) -> tuple[Any, ...]:
        xs, gs = arguments[: len(given)], arguments[len(given) :]
        ys = [y for y in _outputs(func, list(xs)) if y.requires_grad]
        targets = [xs[k] for k in wanted]
        found = grad(ys, targets, list(gs), create_graph=True, allow_unused=True)
        return tuple([g for g in found if g is not None and g.requires_grad])

    return gradcheck(
        first,
        [*given, *cotangents],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
    )
