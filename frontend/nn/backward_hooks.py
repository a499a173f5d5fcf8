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

    Hooks see one gradient an argument and one an output, None where there is none.

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
        self._inputs: list[int] = []  # places of the watched arguments
        self._outputs: list[int] = []
        self._counts = (0, 0)

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with an identity on the tape before them."""
        watched, self._inputs = self._watch(args, self._inputs_done, "backward_hook")
        self._counts = (len(args), 0)
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
        watched, self._outputs = self._watch(items, self._outputs_done, "backward_pre_hook")
        self._counts = (self._counts[0], len(items))
        if single:
            return watched[0]
        return type(result)(watched) if type(result) in (tuple, list) else type(result)(*watched)

    def _watch(
        self, items: tuple[Any, ...], done: Callable[[Gradients], Gradients], name: str
    ) -> tuple[tuple[Any, ...], list[int]]:
        places = [k for k, x in enumerate(items) if isinstance(x, Tensor) and x.requires_grad]
        if not places or not mode.grad:
            return items, []
        sources: list[Any] = [items[k] for k in places]
        watched: list[Any] = [alias(x) for x in sources]

        def backward(cotangents: Sequence[Array | None]) -> Gradients:
            return done(list(cotangents))

        autograd.attach(watched, sources, backward, name)
        result = list(items)
        for place, tensor in zip(places, watched):
            result[place] = tensor
        return tuple(result), places

    def _outputs_done(self, cotangents: Gradients) -> Gradients:
        outgoing = _spread(cotangents, self._outputs, self._counts[1])
        for hook in self._pre_hooks:
            outgoing = _replaced(hook(self.module, outgoing), outgoing, "grad_output")
        self.outgoing = outgoing
        if not self._inputs:
            for hook in self._hooks:
                hook(self.module, (None,) * self._counts[0], outgoing)
        return _gathered(outgoing, self._outputs)

    def _inputs_done(self, cotangents: Gradients) -> Gradients:
        incoming = _spread(cotangents, self._inputs, self._counts[0])
        for hook in self._hooks:
            replaced = hook(self.module, incoming, self.outgoing)
            incoming = _replaced(replaced, incoming, "grad_input")
        return _gathered(incoming, self._inputs)


def _spread(cotangents: Gradients, places: list[int], count: int) -> tuple[Tensor | None, ...]:
    """Return one gradient for each of `count` items, given those at `places`."""
    found: list[Tensor | None] = [None] * count
    for place, cotangent in zip(places, cotangents, strict=True):
        found[place] = None if cotangent is None else wrap(cotangent)
    return tuple(found)


def _gathered(gradients: tuple[Tensor | None, ...], places: list[int]) -> Gradients:
    """Return the elements of the gradients at `places`."""
    found = [gradients[place] for place in places]
    return [None if t is None else t._values() for t in found]


def _replaced(given: Any, gradients: tuple[Any, ...], what: str) -> tuple[Tensor | None, ...]:
    """Return what a hook gave in place of `gradients`, or these if it gave nothing."""
    if given is None:
        return gradients
    replaced = given if isinstance(given, tuple) else (given,)
    if len(replaced) != len(gradients):
        raise RuntimeError(
            f"Backward hook returned an invalid number of {what}, got {len(replaced)}, but "
            f"expected {len(gradients)}"
        )
    return replaced
