"""Functions whose backward pass the user writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from smelt.autograd import tape
from smelt.autograd.modes import no_grad
from smelt.autograd.node import Cotangent, Node
from smelt.autograd.tape import DerivativeError, SavedTensor
from smelt.base import TensorBase, wrap
from smelt.ir.types import TensorType
from smelt.state import mode

if TYPE_CHECKING:
    from smelt.tensor import Tensor


class FunctionCtx:
    """What the forward pass leaves for the backward pass.

    Attributes:
        needs_input_grad: for each argument, whether its gradient is wanted.
    """

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: tuple[SavedTensor | None, ...] | None = None
        self._node: Node | None = None
        self._dirty: tuple[Tensor, ...] = ()
        self._inert: tuple[Tensor, ...] = ()
        self._materialise = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep operands or results for the backward pass, guarded against in-place writes."""
        self._to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which operands the forward pass wrote in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which results have no gradient."""
        self._inert = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Say whether a missing gradient is handed to `backward` as zeros (the default) or None."""
        self._materialise = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept.

        Raises:
            RuntimeError: it was let go by an earlier backward pass, or written in place since.
        """
        if self._saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time, but what this function had "
                "saved is freed: pass retain_graph=True to the first backward()"
            )
        assert self._node is not None
        return tuple([None if s is None else s.unpack(self._node) for s in self._saved])

    def _keep(self, node: Node, results: Sequence[Tensor]) -> None:
        self._node = node
        kept: list[SavedTensor | None] = []
        for x in self._to_save:
            place = next((i for i, y in enumerate(results) if y is x), None)
            if x is None:
                kept.append(None)
            else:
                kept.append(SavedTensor(x, place is not None, place or 0))
        self._saved = tuple(kept)
        self._to_save = ()


class FunctionNode(Node):
    """The application of a user's function."""

    __slots__ = ("ctx", "function", "types")

    def __init__(
        self,
        function: type[Function],
        ctx: FunctionCtx,
        edges: tuple[Any, ...],
        types: tuple[TensorType | None, ...],
    ) -> None:
        super().__init__(function.__name__, edges, len(types))
        self.function = function
        self.ctx = ctx
        self.types = types

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        given: list[Any] = []
        for cotangent, kind in zip(cotangents, self.types, strict=True):
            if cotangent is None:
                missing = self.ctx._materialise and kind is not None
                given.append(tape.RULES.full(0, kind) if missing and kind is not None else None)
            else:
                given.append(cotangent if taped else wrap(cotangent))
        found = self.function.backward(self.ctx, *given)
        results = list(found) if isinstance(found, tuple) else [found]
        if len(results) > len(self.edges):
            extra = results[len(self.edges) :]
            if any(g is not None for g in extra):
                raise RuntimeError(
                    f"function {self.name()} returned an incorrect number of gradients "
                    f"(expected {len(self.edges)}, got {len(results)})"
                )
        elif len(results) < len(self.edges):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients "
                f"(expected {len(self.edges)}, got {len(results)})"
            )
        if taped:
            return results
        return [g._values() if isinstance(g, TensorBase) else None for g in results]

    def free(self) -> None:
        if self.ctx._saved:
            self.ctx._saved = None


class Function:
    """A differentiable function with a forward and a backward pass of the user's.

    A subclass defines the static methods `forward(ctx, *args)` and `backward(ctx, *grads)`, which
    gives one gradient an argument; or `forward(*args)` with `setup_context(ctx, inputs, output)`.
    It is called by `apply`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the results."""
        raise RuntimeError("a Function must define the static method forward")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what backward needs, where forward takes no ctx."""
        raise RuntimeError("a Function defines forward(ctx, ...) or setup_context")

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Any) -> Any:
        """Compute one gradient an argument, given one a result."""
        raise RuntimeError("a Function must define the static method backward to have a gradient")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the function."""
        tracer = mode.tracer
        if tracer is not None:
            return tracer.call_function(cls, args)
        ctx = FunctionCtx()
        return _applied(cls, ctx, args, *run_forward(cls, ctx, args))


def run_forward(
    function: type[Function], ctx: FunctionCtx, args: tuple[Any, ...]
) -> tuple[Any, bool]:
    """Run the user's forward pass outside of the tape; tell whether gradients are wanted."""
    tensors = [x for x in args if isinstance(x, TensorBase)]
    taped = mode.grad and tape.wanted(tensors)
    ctx.needs_input_grad = tuple([isinstance(x, TensorBase) and tape.requires(x) for x in args])
    with no_grad():
        if function.setup_context is Function.setup_context:
            output = function.forward(ctx, *args)
        else:
            output = function.forward(*args)
            function.setup_context(ctx, args, output)
    return output, taped


def _applied(
    function: type[Function], ctx: FunctionCtx, args: tuple[Any, ...], output: Any, taped: bool
) -> Any:
    many = isinstance(output, (tuple, list))
    results: list[Any] = list(output) if many else [output]
    for position, y in enumerate(results):
        # An operand that is handed back, or a view, becomes a result of its own.
        if not isinstance(y, TensorBase) or any(y is d for d in ctx._dirty):
            continue
        if any(y is x for x in args) or y._base is not None:
            results[position] = tape.alias(y)  # type: ignore[arg-type]
    if taped:
        edges = tuple([tape.edge_of(x) if isinstance(x, TensorBase) else None for x in args])
        types = tuple(
            [
                TensorType(y.dtype, tuple(y._sizes)) if isinstance(y, TensorBase) else None
                for y in results
            ]
        )
        node = FunctionNode(function, ctx, edges, types)
        for number, y in enumerate(results):
            if not isinstance(y, TensorBase) or any(y is n for n in ctx._inert):
                continue
            if y.dtype.is_floating_point or y.dtype.is_complex:
                y._node, y._output_nr, y._requires_grad = node, number, True
        ctx._keep(node, results)
    return tuple(results) if many else results[0]


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a backward pass that cannot itself be differentiated."""

    @functools.wraps(backward)
    def once(ctx: FunctionCtx, *grads: Any) -> Any:
        taped = mode.grad and any(isinstance(g, TensorBase) and tape.requires(g) for g in grads)
        with no_grad():
            found = backward(ctx, *grads)
        if not taped:
            return found
        results = found if isinstance(found, tuple) else (found,)
        marked: list[Any] = []
        for g in results:
            if isinstance(g, TensorBase):
                g = tape.alias(g)  # type: ignore[arg-type]
                tape.adopt(RefusalNode(backward.__qualname__), (g,))
            marked.append(g)
        return tuple(marked)

    return once


class RefusalNode(Node):
    """A step that cannot be differentiated again."""

    __slots__ = ()

    def __init__(self, label: str) -> None:
        # An edge that leads nowhere makes the engine come here and be refused.
        super().__init__(label, ((_END, 0),))

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        raise DerivativeError(
            f"trying to differentiate twice {self.label}, which is marked with @once_differentiable"
        )


_END = tape.ConstantNode("end", ())

__all__ = ["Function", "FunctionCtx", "once_differentiable", "run_forward"]
