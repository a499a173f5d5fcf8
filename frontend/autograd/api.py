"""Gradients as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.autograd import engine
from smelt.autograd.node import Node
from smelt.base import TensorBase

if TYPE_CHECKING:
    from smelt.tensor import Tensor


def _listed(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, TensorBase) or tensors is None else list(tensors)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of the sum of `tensors` to `.grad` of the leaves, or of `inputs` alone."""
    outputs = _listed(tensors)
    given = [None] * len(outputs) if grad_tensors is None else _listed(grad_tensors)
    engine.backward(
        outputs,
        given,
        None if inputs is None else _listed(inputs),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    )


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the sum of `outputs` with respect to `inputs`.

    Args:
        outputs: what is differentiated.
        inputs: with respect to what.
        grad_outputs: cotangents of the outputs; 1 for outputs of one element.
        retain_graph: keep what the tape saved; by default as `create_graph`.
        create_graph: tape the computation, so that the gradients can be differentiated.
        allow_unused: give None for an input that the outputs do not depend on.
        is_grads_batched: must be False.
        materialize_grads: give zeros for such an input.

    Raises:
        RuntimeError: an input does not require grad or is unused.
    """
    if is_grads_batched:
        raise RuntimeError("is_grads_batched=True is not supported: call grad() for each cotangent")
    found, wanted = _listed(outputs), _listed(inputs)
    given = [None] * len(found) if grad_outputs is None else _listed(grad_outputs)
    results = engine.gradients(
        found,
        wanted,
        given,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        allow_unused=materialize_grads if allow_unused is None else allow_unused,
    )
    if not materialize_grads:
        return results
    from smelt.functions.creation import zeros_like

    return tuple([zeros_like(x) if g is None else g for g, x in zip(results, wanted)])


def Variable(data: Tensor, requires_grad: bool = False) -> Tensor:
    """Return a tensor of the same storage, as code written before tensors had gradients expects."""
    return data.detach().requires_grad_(requires_grad)


class detect_anomaly:
    """Within it, a backward pass that gives NaN raises and names the operation."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check = check_nan

    def __enter__(self) -> None:
        self._before = engine.anomaly[0]
        engine.anomaly[0] = check_cotangents if self._check else None

    def __exit__(self, *exception: object) -> None:
        engine.anomaly[0] = self._before


def check_cotangents(node: Node, cotangents: Sequence[Any]) -> None:
    """Raise a RuntimeError if a node gave NaN."""
    for position, cotangent in enumerate(cotangents):
        if cotangent is None:
            continue
        array = cotangent._values() if isinstance(cotangent, TensorBase) else cotangent
        if array.dtype.kind in "fcV" and bool(np.isnan(array).any()):
            raise RuntimeError(
                f"Function '{node.name()}' returned nan values in its {position}th output."
            )
