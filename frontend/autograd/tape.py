"""The tape: what eager operations leave behind for the backward pass."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smelt.autograd.node import AccumulateGrad, Cotangent, Edge, Node
from smelt.base import TensorBase, Version, wrap, wrap_storage
from smelt.ir.errors import SmeltError
from smelt.ir.evaluate import NUMPY_RULES
from smelt.ir.op import NoVjp, OpDef, Rules, Saved, Vjp
from smelt.ir.registry import OPS
from smelt.ir.types import TensorType
from smelt.signature import Signature
from smelt.state import mode

if TYPE_CHECKING:
    from smelt.ir.graph import Graph
    from smelt.tensor import Tensor


class TapeRules(Rules):
    """Apply ops to tensors through the door, so that they are taped or traced."""

    def __call__(
        self, op: str, *operands: Tensor, regions: tuple[Graph, ...] = (), **attrs: Any
    ) -> Any:
        from smelt.dispatch import NO_ATTRS, apply

        definition = OPS[op]
        return apply(
            definition, operands, definition.attrs(**attrs) if attrs else NO_ATTRS, regions
        )

    def type(self, operand: Tensor) -> TensorType:
        return TensorType(operand.dtype, tuple(operand._sizes))


RULES = TapeRules()


class SavedTensor:
    """A value that the backward pass will read, and the version it had."""

    __slots__ = ("_counter", "_is_result", "_output_nr", "_tensor", "_version")

    def __init__(self, tensor: Tensor, is_result: bool, output_nr: int) -> None:
        if tensor._inference:
            raise RuntimeError(
                "Inference tensors cannot be saved for backward: clone() the tensor outside of "
                "inference_mode(), or compute with it under no_grad()"
            )
        self._counter: Version = tensor._version_counter
        self._version = self._counter.value
        self._is_result = is_result
        self._output_nr = output_nr
        # A result is held without its node, or the node would hold itself.
        self._tensor = alias(tensor) if is_result else tensor

    def unpack(self, node: Node) -> Tensor:
        """Return the value.

        Raises:
            RuntimeError: it was written in place since.
        """
        if self._counter.value != self._version:
            tensor = self._tensor
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                f"inplace operation: a {tensor.dtype.torch_name} tensor of shape "
                f"{list(tensor._sizes)}, saved by {node.name()}, is at version "
                f"{self._counter.value}; expected version {self._version} instead. Compute the "
                "gradient before the write, or write to a clone()."
            )
        if not self._is_result:
            return self._tensor
        tensor = alias(self._tensor)
        tensor._node, tensor._output_nr, tensor._requires_grad = node, self._output_nr, True
        return tensor

    def follow(self, tensor: Tensor) -> None:
        """Let `tensor`, which now holds the same elements, stand for the saved result."""
        if self._is_result:
            self._tensor = alias(tensor)
            self._counter = tensor._version_counter
            self._version = self._counter.value


def alias(tensor: Tensor) -> Tensor:
    """Return a tensor of the same storage and version, outside of autograd."""
    return wrap_storage(tensor._storage, tensor._layout, tensor._array, tensor._version_counter)


class OpNode(Node):
    """The application of an op.

    Attributes:
        op: what was applied.
        attrs: its attributes.
        signature: its types.
        needs: for each operand, whether its cotangent is wanted.
        saved: what `op.vjp.saves` names, in order; None once it was let go.
    """

    __slots__ = ("attrs", "needs", "op", "regions", "saved", "signature")

    def __init__(
        self,
        op: OpDef,
        inputs: Sequence[Tensor],
        attrs: Any,
        signature: Signature,
        regions: tuple[Graph, ...],
    ) -> None:
        edges = tuple(
            [edge_of(x) if gradual else None for x, gradual in zip(inputs, signature.gradual)]
        )
        super().__init__(op.name, edges, len(signature.outputs))
        self.op = op
        self.attrs = attrs
        self.signature = signature
        self.regions = regions
        self.needs = tuple([edge is not None for edge in edges])
        self.saved: tuple[Any, ...] | None = ()

    def save(self, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Keep what the rule of differentiation reads."""
        vjp = self.op.vjp
        if not isinstance(vjp, Vjp):
            return
        kept: list[Any] = []
        for places in save_plan(self.op):
            match places:
                case ("operand", position):
                    kept.append(SavedTensor(inputs[position], False, 0))
                case ("rest", position):
                    kept.append(tuple([SavedTensor(x, False, 0) for x in inputs[position:]]))
                case ("result", position):
                    kept.append(SavedTensor(results[position], True, position))
                case ("results", _):
                    kept.append(tuple([SavedTensor(y, True, i) for i, y in enumerate(results)]))
        self.saved = tuple(kept)

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        vjp = self.op.vjp
        if isinstance(vjp, NoVjp):
            raise DerivativeError(f"{self.op.name} has no derivative: {vjp.reason}")
        assert isinstance(vjp, Vjp)
        if self.saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time, but what "
                f"{self.name()} had saved is freed: pass retain_graph=True to the first "
                "backward() or autograd.grad()"
            )
        values = {name: self._unpack(kept, taped) for name, kept in zip(vjp.saves, self.saved)}
        saved = Saved(self.attrs, self.signature.inputs, self.signature.outputs, values, self.needs)
        if taped:
            return vjp.rule(RULES, saved, *cotangents)
        return vjp.rule(NUMPY_RULES, saved, *cotangents)

    def _unpack(self, kept: Any, taped: bool) -> Any:
        if isinstance(kept, tuple):
            return tuple([self._unpack(k, taped) for k in kept])
        tensor = kept.unpack(self)
        return tensor if taped else tensor._values()

    def free(self) -> None:
        if self.saved:
            self.saved = None


class DerivativeError(SmeltError, RuntimeError):
    """A gradient was asked through an operation that has none."""


_plans: dict[OpDef, tuple[tuple[str, int], ...]] = {}


def save_plan(op: OpDef) -> tuple[tuple[str, int], ...]:
    """Return where each name in `op.vjp.saves` is found."""
    plan = _plans.get(op)
    if plan is None:
        assert isinstance(op.vjp, Vjp)
        plan = _plans[op] = tuple([_place(op, name) for name in op.vjp.saves])
    return plan


def _place(op: OpDef, name: str) -> tuple[str, int]:
    if name in op.operands:
        return ("operand", op.operands.index(name))
    if "*" + name in op.operands:
        return ("rest", op.operands.index("*" + name))
    if name in op.results:
        return ("result", op.results.index(name))
    return ("results", 0)


def requires(tensor: TensorBase) -> bool:
    """Tell whether gradients flow to this tensor."""
    if tensor._base is not None:
        _regenerate(tensor)
    return tensor._requires_grad


def wanted(inputs: Sequence[TensorBase]) -> bool:
    """Tell whether gradients flow to any of these tensors."""
    for x in inputs:
        if x._base is not None:
            _regenerate(x)
        if x._requires_grad:
            return True
    return False


def edge_of(tensor: TensorBase) -> Edge | None:
    """Return where the gradient of this tensor goes, None if it needs none."""
    if tensor._base is not None:
        _regenerate(tensor)
    if tensor._node is not None:
        return (tensor._node, tensor._output_nr)
    if not tensor._requires_grad:
        return None
    return (accumulator_of(tensor), 0)


def accumulator_of(leaf: TensorBase) -> AccumulateGrad:
    """Return the node that adds to the gradient of a leaf."""
    reference = leaf._accumulator
    node = None if reference is None else reference()
    if node is None:
        node = AccumulateGrad(leaf)  # type: ignore[arg-type]
        leaf._accumulator = weakref.ref(node)
    return node


def record(
    op: OpDef,
    inputs: Sequence[Tensor],
    attrs: Any,
    signature: Signature,
    results: Sequence[Tensor],
    regions: tuple[Graph, ...] = (),
) -> None:
    """Put an application on the tape: `results` require grad from here on."""
    node = OpNode(op, inputs, attrs, signature, regions)
    node.save(inputs, results)
    adopt(node, results)


def adopt(node: Node, results: Sequence[Tensor]) -> None:
    """Make `node` the origin of those results that can have gradients."""
    for number, result in enumerate(results):
        if result.dtype.is_floating_point or result.dtype.is_complex:
            result._node = node
            result._output_nr = number
            result._requires_grad = True


class ViewNode(Node):
    """A view of a tensor that was written since: its elements come from the base as it is now."""

    __slots__ = ("_base_type", "_placement")

    def __init__(self, base: TensorBase, view: TensorBase) -> None:
        super().__init__("as_strided", (edge_of(base),))
        self._placement = Placement(base, view)

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        rules = RULES if taped else NUMPY_RULES
        return (self._placement.scatter(rules, cotangents[0]),)


class CopyNode(Node):
    """The overwriting of a view of a tensor: what the tensor is afterwards."""

    __slots__ = ("_placement",)

    def __init__(self, base: TensorBase, view: TensorBase, value: TensorBase) -> None:
        # A write to all elements leaves nothing of what was there before.
        covers = view._layout.size == base._layout.size
        super().__init__("copy_slices", (None if covers else edge_of(base), edge_of(value)))
        self._placement = Placement(base, view)

    def name(self) -> str:
        return "CopySlices"

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        rules = RULES if taped else NUMPY_RULES
        kept, taken = self._placement.split(rules, cotangents[0])
        return (kept, taken)


class Placement:
    """Where the elements of a view lie among those of its base, and both in flat storage."""

    __slots__ = ("_base", "_contiguous", "_origin", "_size", "_view", "dtype")

    def __init__(self, base: TensorBase, view: TensorBase) -> None:
        self._base, self._view = base._layout, view._layout
        self._contiguous = self._base.is_contiguous
        self._origin = min(self._base.offset, self._view.offset)
        ends = [x.offset + x.span for x in (self._base, self._view)]
        self._size = self._base.size if self._contiguous else max(ends) - self._origin
        self.dtype = base.dtype

    def _attrs(self, layout: Any) -> dict[str, Any]:
        return {
            "sizes": layout.sizes,
            "strides": layout.strides,
            "offset": layout.offset - self._origin,
        }

    def _flatten(self, rules: Rules, x: Any) -> Any:
        """Return a value of the base's type as the flat storage would hold it."""
        if self._contiguous:
            return rules.reshape(x, (self._size,))
        empty = rules.full(0, TensorType(self.dtype, (self._size,)))
        return rules("as_strided_scatter", empty, x, **self._attrs(self._base))

    def _restore(self, rules: Rules, flat: Any) -> Any:
        if self._contiguous:
            return rules.reshape(flat, self._base.sizes)
        return rules("as_strided", flat, **self._attrs(self._base))

    def scatter(self, rules: Rules, cotangent: Any) -> Any:
        """Return the cotangent of the base, given that of the view."""
        zeros = rules.full(0, TensorType(self.dtype, (self._size,)))
        flat = rules("as_strided_scatter", zeros, cotangent, **self._attrs(self._view))
        return self._restore(rules, flat)

    def split(self, rules: Rules, cotangent: Any) -> tuple[Any, Any]:
        """Return the cotangents of the old base and of the written value, given the new base's."""
        flat = self._flatten(rules, cotangent)
        taken = rules("as_strided", flat, **self._attrs(self._view))
        zeros = rules.full(0, TensorType(self.dtype, self._view.sizes))
        kept = rules("as_strided_scatter", flat, zeros, **self._attrs(self._view))
        return self._restore(rules, kept), taken


def _regenerate(view: TensorBase) -> None:
    """Bring the node of a view up to date with the writes to its family."""
    base = view._base
    assert base is not None
    if view._view_version == view._version:
        return
    view._view_version = view._version
    promise = None if base._node is None else base._node.promise()
    if promise is not None:
        # While a history is recorded, each tensor of the family has a promise of its own.
        if view._node is None or view._node.promise() is None:
            view._node = promise
            view._output_nr = 0
            view._requires_grad = True
    elif base._node is not None or base._requires_grad:
        view._node = ViewNode(base, view)
        view._output_nr = 0
        view._requires_grad = True


def check_writable(target: TensorBase) -> None:
    """Refuse a write that the tape could not follow.

    Raises:
        RuntimeError: `target` is a leaf that requires grad, or a view of one, and gradients are on.
    """
    if not mode.grad:
        return
    base = target._base
    # A view made under no_grad() counts too: its base would cease to be a leaf.
    if base is None and requires(target) and target._node is None:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation: "
            "write under no_grad(), or to a clone()"
        )
    if base is not None and base._node is None and base._requires_grad:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place "
            "operation: write under no_grad(), or to a clone()"
        )


class ConstantNode(Node):
    """The overwriting of a tensor by elements that depend on nothing."""

    __slots__ = ()

    def pull(self, cotangents: Sequence[Cotangent | None], taped: bool) -> Sequence[Any]:
        return ()


def rebase(target: Tensor, value: Tensor, owned: bool) -> None:
    """Tell the tape that `target` (already written) now holds what `value` does.

    `owned` says that nobody else holds `value`, so that what its node has saved of it is saved
    as `target` instead.
    """
    if not mode.grad:
        return
    base = target._base
    if not requires(value) and not target._requires_grad and (base is None or not requires(base)):
        return
    if not (target.dtype.is_floating_point or target.dtype.is_complex):
        return
    if base is None:
        edge = edge_of(value)
        target._requires_grad = True
        node, target._output_nr = (ConstantNode("copy", ()), 0) if edge is None else edge
        target._node = node
        if owned and isinstance(node, OpNode):
            _follow(node, target)
        return
    node = CopyNode(base, target, value)
    base._node, base._output_nr, base._requires_grad = node, 0, True
    _regenerate(target)


def _follow(node: OpNode, target: Tensor) -> None:
    for kept in node.saved or ():
        if isinstance(kept, SavedTensor) and kept._output_nr == target._output_nr:
            kept.follow(target)


def snapshot(target: Tensor) -> Tensor:
    """Return the operand to hand to an op whose result will overwrite `target`.

    Where the op may be taped this is a copy at the same place on the tape, for its rule may read
    the overwritten elements.
    """
    if mode.tracer is not None or not mode.grad:
        return target
    copy = wrap(target._values().copy())
    edge = edge_of(target)
    if edge is not None:
        copy._node, copy._output_nr = edge
        copy._requires_grad = True
    return copy
