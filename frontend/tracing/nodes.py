"""What stands on the tape for a tensor whose history is only recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from smelt.autograd.node import Cotangent, Node
from smelt.ir.errors import TraceError


class TracedNode(Node):
    """The history of a promised tensor: known to the recording, not to the tape.

    It is replaced once the recording has run; a backward pass of the tape never gets here before.
    """

    __slots__ = ()

    def __init__(self, label: str) -> None:
        self.label = label
        self.edges = ()
        self.order = 0
        self.width = 1

    def promise(self) -> TracedNode:
        return TracedNode(self.label)

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        raise TraceError(
            f"the history of the result of {self.label} belongs to a compiled function; call "
            "backward() inside of it, or on a tensor that it returns"
        )

    def _refuse(self) -> NoReturn:
        raise TraceError(
            f"a hook on the result of {self.label}, computed in a compiled function, is not "
            "recorded yet; register it on a parameter, or call the function eagerly"
        )

    @property
    def hooks(self) -> NoReturn:  # type: ignore[override]
        """Refuse hooks on intermediate results."""
        self._refuse()

    @property
    def retained(self) -> NoReturn:  # type: ignore[override]
        """Refuse `retain_grad` on intermediate results."""
        self._refuse()

    @property
    def after_hooks(self) -> NoReturn:  # type: ignore[override]
        """Refuse hooks on the nodes of intermediate results."""
        self._refuse()
