"""Nodes of the tape: what gave a tensor, and how cotangents pass back through it."""

from __future__ import annotations

import itertools
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from smelt.hooks import RemovableHandle

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Edge = tuple["Node", int]
Cotangent = Any
_sequence = itertools.count()


class Node(ABC):
    """One step of the computation that gradients flow back through.

    Attributes:
        edges: for each operand, the node and result it came from; None where no gradient goes.
        order: a number greater than those of all nodes before this one.
        label: name of the op or function that the user called.
        hooks: for each result, hooks that see and may replace its cotangent.
        retained: for each result, the tensors whose `.grad` is to be kept.
        width: number of results.
        after_hooks: `(grad_inputs, grad_outputs) -> grad_inputs | None`, run after the node.
    """

    __slots__ = (
        "__weakref__",
        "after_hooks",
        "edges",
        "hooks",
        "label",
        "order",
        "retained",
        "width",
    )

    def __init__(self, label: str, edges: tuple[Edge | None, ...], width: int = 1) -> None:
        self.label = label
        self.width = width
        self.edges = edges
        self.order = next(_sequence)
        self.hooks: dict[int, dict[int, Callable[[Tensor], Tensor | None]]] | None = None
        self.retained: dict[int, weakref.ref[Tensor]] | None = None
        self.after_hooks: dict[int, Callable[..., Any]] | None = None

    @abstractmethod
    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        """Return one cotangent an edge, given one a result.

        Cotangents are arrays, or tensors if `taped`, where the backward pass is itself taped.
        """

    def promise(self) -> Node | None:
        """Return a like promise for another tensor of the storage; None for a node of the tape."""
        return None

    def free(self) -> None:  # noqa: B027 - nodes that save nothing have nothing to free
        """Let go of what was saved for the backward pass."""

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The nodes that gradients go to next, with the number of their result."""
        return tuple([(None, 0) if edge is None else edge for edge in self.edges])

    def name(self) -> str:
        """Return the name that PyTorch prints."""
        return printed_name(self.label)

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after this node; it may give new inputs."""
        if self.after_hooks is None:
            self.after_hooks = {}
        return RemovableHandle(self.after_hooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self))}>"


# Ops that PyTorch calls otherwise in the names of its nodes.
_NAMES = {
    "batch_norm": "NativeBatchNorm",
    "cast": "ToCopy",
    "contiguous": "Clone",
    "conv": "Convolution",
    "conv_transpose": "Convolution",
    "cross_entropy": "NllLoss",
    "group_norm": "NativeGroupNorm",
    "layer_norm": "NativeLayerNorm",
    "linear": "Addmm",
    "matmul": "Mm",
    "max_pool": "MaxPool2DWithIndices",
    "reshape": "View",
    "square": "Pow",
}


def printed_name(label: str) -> str:
    """Return the name of the node of an op or function; a final digit says which variant it is."""
    variant = label[-1] if label[-2:-1] == "@" else "0"
    label = label.removesuffix(f"@{variant}")
    found = _NAMES.get(label)
    if found is None:
        found = "".join(w[:1].upper() + w[1:] for w in label.strip("_").split("_"))
    return f"{found}Backward{variant}"


class AccumulateGrad(Node):
    """The end of the tape at a leaf: adds to its `.grad`."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        super().__init__("accumulate_grad", ())
        self.order = 1 << 62
        self.variable = variable

    def name(self) -> str:
        return "AccumulateGrad"

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        return ()
