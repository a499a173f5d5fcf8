"""Derivatives of functions: vector products, Jacobians and Hessians."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smelt.autograd.api import grad
from smelt.autograd.modes import enable_grad
from smelt.base import TensorBase
from smelt.functions import creation, joining, reductions, views

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Tensors = Any  # a tensor, or a tuple of them
Function = Callable[..., Any]


def _tuple(x: Tensors) -> tuple[tuple[Any, ...], bool]:
    return ((x,), False) if isinstance(x, TensorBase) else (tuple(x), True)


def _untuple(found: tuple[Any, ...], many: bool) -> Any:
    return found if many else found[0]


def _evaluate(
    func: Function, inputs: tuple[Any, ...], create_graph: bool
) -> tuple[tuple[Any, ...], tuple[Any, ...], bool]:
    """Return fresh inputs, the outputs at them, and whether there are several outputs."""
    if create_graph:
        fresh = tuple([views.alias(x) if x.requires_grad else x.clone() for x in inputs])
    else:
        fresh = tuple([x.detach() for x in inputs])
    for x in fresh:
        if not x.requires_grad:
            x.requires_grad_()
    with enable_grad():
        outputs, many = _tuple(func(*fresh))
    return fresh, outputs, many


def _pulled(
    outputs: tuple[Any, ...],
    inputs: tuple[Any, ...],
    cotangents: tuple[Any, ...] | None,
    create_graph: bool,
) -> tuple[Any, ...]:
    """Return the gradients, zeros where an output depends on no input."""
    live = [k for k, y in enumerate(outputs) if y.requires_grad]
    if not live:
        return tuple([creation.zeros_like(x) for x in inputs])
    given = None if cotangents is None else [cotangents[k] for k in live]
    return grad(
        [outputs[k] for k in live],
        inputs,
        given,
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )


def vjp(
    func: Function, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False
) -> tuple[Any, Any]:
    """Return the outputs of `func`, and `v` times its Jacobian."""
    given, many = _tuple(inputs)
    fresh, outputs, several = _evaluate(func, given, create_graph)
    cotangents = None if v is None else _tuple(v)[0]
    found = _pulled(outputs, fresh, cotangents, create_graph)
    results = outputs if create_graph else tuple([y.detach() for y in outputs])
    return _untuple(results, several), _untuple(found, many)


def jvp(
    func: Function, inputs: Tensors, v: Tensors | None = None, create_graph: bool = False
) -> tuple[Any, Any]:
    """Return the outputs of `func`, and its Jacobian times `v`.

    By differentiating twice: u ↦ uᵀJ is linear, and its own vjp with `v` is J v.
    """
    given, _ = _tuple(inputs)
    fresh, outputs, several = _evaluate(func, given, create_graph)
    tangents = tuple([creation.ones_like(x) for x in fresh]) if v is None else _tuple(v)[0]
    dummies = tuple([creation.zeros_like(y, requires_grad=True) for y in outputs])
    pulled = _pulled(outputs, fresh, dummies, create_graph=True)
    found = _pulled(pulled, dummies, tangents, create_graph)
    results = outputs if create_graph else tuple([y.detach() for y in outputs])
    return _untuple(results, several), _untuple(found, several)


def jacobian(func: Function, inputs: Tensors, create_graph: bool = False) -> Any:
    """Return the Jacobian: for each output and input, a tensor of both their shapes in turn."""
    given, many = _tuple(inputs)
    fresh, outputs, several = _evaluate(func, given, create_graph)
    rows: list[Any] = []
    for y in outputs:
        flat = views.reshape(y, -1)
        found: list[list[Tensor]] = [[] for _ in fresh]
        for place in range(flat.numel()):
            for column, g in zip(found, _pulled((flat[place],), fresh, None, create_graph)):
                column.append(g)
        blocks = [
            views.reshape(joining.stack(column), (*y.shape, *x.shape))
            if column
            else creation.zeros(*y.shape, *x.shape, dtype=y.dtype)
            for column, x in zip(found, fresh)
        ]
        rows.append(_untuple(tuple(blocks), many))
    return _untuple(tuple(rows), several)


def hessian(func: Function, inputs: Tensors, create_graph: bool = False) -> Any:
    """Return the second derivatives of a function with a single element."""

    def gradient(*arguments: Any) -> Any:
        outputs, _ = _tuple(func(*arguments))
        if len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError("hessian needs a function that gives a single element")
        total = reductions.sum(outputs[0])
        return _pulled((total,), arguments, None, create_graph=True)

    _, many = _tuple(inputs)
    found = jacobian(gradient, inputs, create_graph)
    return found if many else found[0]
