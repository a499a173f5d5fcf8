"""Backward hooks of modules: identities on the tape around a module's inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from smelt import autograd
from smelt.autograd.tape import alias
from smelt.base import wrap
from smelt.ir.errors import TraceError
from smelt.state import mode
from smelt.storage import Array
from smelt.tensor import Tensor

if TYPE_CHECKING:
    from smelt.nn.calling import Calling

Gradients = list[Array | None]


class Boundary:
    """One call of a module whose gradients are watched.

    Attributes:
        outgoing: gradients of the outputs, once they have arrived.
    """

    def __init__(
        self,
        module: Calling,
        hooks: dict[int, Callable[..., Any]],
        pre_hooks: dict[int, Callable[..., Any]],
    ) -> None:
        if mode.tracer is not None:
            raise TraceError(
                f"backward hooks of {type(module).__name__} are not recorded by compile yet: "
                "call the module eagerly, or register hooks on its parameters"
            )
        self.module = module
        self.outgoing: tuple[Tensor | None, ...] = ()
        self._hooks = list(hooks.values())
        self._pre_hooks = list(pre_hooks.values())
        self._has_inputs = False

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with an identity on the tape before them."""
        watched, count = self._watch(args, self._inputs_done, "backward_hook")
        self._has_inputs = count > 0
        return watched

    def leave(self, result: Any) -> Any:
        """Return the result with an identity on the tape after it."""
        single = isinstance(result, Tensor)
        if not single and not isinstance(result, tuple | list):
            raise TypeError(
                f"{type(self.module).__name__} has backward hooks, so its forward must give a "
                f"tensor or a tuple of tensors, not {type(result).__name__}"
            )
        items = (result,) if single else tuple(result)
        watched, _ = self._watch(items, self._outputs_done, "backward_pre_hook")
        if single:
            return watched[0]
        return type(result)(watched) if type(result) in (tuple, list) else type(result)(*watched)

    def _watch(
        self, items: tuple[Any, ...], done: Callable[[Gradients], Gradients], name: str
    ) -> tuple[tuple[Any, ...], int]:
        places = [k for k, x in enumerate(items) if isinstance(x, Tensor) and x.requires_grad]
        if not places or not mode.grad:
            return items, 0
        sources: list[Any] = [items[k] for k in places]
        watched: list[Any] = [alias(x) for x in sources]

        def backward(cotangents: Sequence[Array | None]) -> Gradients:
            return done(list(cotangents))

        autograd.attach(watched, sources, backward, name)
        result = list(items)
        for place, tensor in zip(places, watched):
            result[place] = tensor
        return tuple(result), len(places)

    def _outputs_done(self, cotangents: Gradients) -> Gradients:
        outgoing = _tensors(cotangents)
        for hook in self._pre_hooks:
            replaced = hook(self.module, outgoing)
            if replaced is not None:
                outgoing = replaced if isinstance(replaced, tuple) else (replaced,)
        self.outgoing = outgoing
        if not self._has_inputs:
            for hook in self._hooks:
                hook(self.module, (), outgoing)
        return _arrays(outgoing)

    def _inputs_done(self, cotangents: Gradients) -> Gradients:
        incoming = _tensors(cotangents)
        for hook in self._hooks:
            replaced = hook(self.module, incoming, self.outgoing)
            if replaced is not None:
                replaced = replaced if isinstance(replaced, tuple) else (replaced,)
                if len(replaced) != len(incoming):
                    raise RuntimeError(
                        "Backward hook returned an invalid number of grad_input, got "
                        f"{len(replaced)}, but expected {len(incoming)}"
                    )
                incoming = replaced
        return _arrays(incoming)


def _tensors(cotangents: Gradients) -> tuple[Tensor | None, ...]:
    return tuple([None if c is None else wrap(c) for c in cotangents])


def _arrays(tensors: tuple[Tensor | None, ...]) -> Gradients:
    return [None if t is None else t._values() for t in tensors]
