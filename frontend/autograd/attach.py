"""Tape nodes for what was computed elsewhere: compiled programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from smelt.autograd import tape
from smelt.autograd.node import Cotangent, Node
from smelt.autograd.tape import DerivativeError

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Backward = Callable[[list[Any]], Sequence[Any]]


class CallbackNode(Node):
    """A computation whose backward pass is a Python function."""

    __slots__ = ("_backward", "_taped_backward")

    def __init__(
        self,
        name: str,
        edges: tuple[Any, ...],
        width: int,
        backward: Backward,
        taped_backward: Backward | None,
    ) -> None:
        super().__init__(name, edges, width)
        self._backward: Backward | None = backward
        self._taped_backward = taped_backward

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        if taped and self._taped_backward is not None:
            return self._taped_backward(list(cotangents))
        if taped:
            raise DerivativeError(
                f"the backward pass of {self.label} cannot be differentiated again: compute with "
                "create_graph=True inside of the compiled function, or call it uncompiled"
            )
        if self._backward is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time, but what "
                f"{self.name()} had saved is freed: pass retain_graph=True to the first backward()"
            )
        return self._backward(list(cotangents))

    def free(self) -> None:
        self._backward = None


def attach(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    backward: Backward,
    name: str,
    taped_backward: Backward | None = None,
) -> None:
    """Make `outputs` the results of a computation on `inputs` with a backward pass of its own.

    Args:
        outputs: fresh tensors outside of the tape; those of floating dtype will require grad.
        inputs: the tensors that gradients go to.
        backward: given one array (or None) an output, returns one array (or None) an input. It is
            let go of after the first backward pass that does not retain the graph.
        name: what `grad_fn` prints.
        taped_backward: the same on tensors, for `create_graph=True`; None refuses it.
    """
    edges = tuple([tape.edge_of(x) for x in inputs])
    node = CallbackNode(name, edges, len(outputs), backward, taped_backward)
    tape.adopt(node, outputs)
