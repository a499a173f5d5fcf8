"""Gradients under capture: one `grad` event, whatever is differentiated.

No backward pass runs while recording. What reaches what is found by walking the recorded events,
once for each place in the tree of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from smelt.autograd.engine import initial_cotangent
from smelt.base import TensorBase
from smelt.dispatch import apply, write
from smelt.ir.differentiate import differentiate, stops
from smelt.ir.graph import Node, Value
from smelt.ir.layout import row_major
from smelt.ir.op import Vjp
from smelt.state import mode
from smelt.tracing import callsite
from smelt.tracing.nodes import TracedNode
from smelt.tracing.steps import Event, GradEvent, OpEvent, Result, Step

if TYPE_CHECKING:
    from smelt.tensor import Tensor
    from smelt.tracing.recorder import Recorder


def results_of(step: Step) -> list[Result]:
    """Return what every slot up to `step` holds."""
    return [result for taken in step.path() for result in taken.results]


def reach(step: Step, outputs: Iterable[int]) -> tuple[set[int], frozenset[int]]:
    """Return the slots that gradients of `outputs` flow through, and those with saved values."""
    producers: dict[int, Event] = {}
    for taken in step.path():
        assert taken.event is not None, "only the root has no event"
        for k in range(len(taken.results)):
            producers[taken.first_slot + k] = taken.event
    known = results_of(step)
    seen: set[int] = set()
    saving: set[int] = set()
    stack = list(outputs)
    while stack:
        slot = stack.pop()
        if slot in seen:
            continue
        seen.add(slot)
        match producers[slot]:
            case OpEvent(op, _, inputs, True, _):
                stack += inputs
                if not isinstance(op.vjp, Vjp) or op.vjp.saves:
                    saving.add(slot)
            case GradEvent() as event if known[slot].requires_grad:
                stack += (*event.outputs, *event.cotangents, *event.wrt)
                saving.add(slot)
            case _:
                pass
    return seen, frozenset(saving)


def backward(
    recorder: Recorder,
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    inputs: Sequence[Tensor] | None,
    *,
    retain_graph: bool,
    create_graph: bool,
    accumulate: bool,
    allow_unused: bool,
) -> tuple[Tensor | None, ...]:
    """Append the gradients of `outputs`; see `dispatch.Tracer.backward`."""
    seeds: list[Tensor] = []
    for position, (y, given) in enumerate(zip(outputs, cotangents, strict=True)):
        if not y.requires_grad:
            raise RuntimeError(
                f"element {position} of tensors does not require grad and does not have a grad_fn"
            )
        seeds.append(initial_cotangent(y, given, position))
    ys = tuple([recorder.slot(y) for y in outputs])
    gys = tuple([recorder.slot(g) for g in seeds])
    wanted = None if inputs is None else tuple([_slots_of(recorder, x) for x in inputs])
    found = _record(recorder, ys, gys, wanted, create_graph, retain_graph)
    before = mode.grad
    mode.grad = create_graph
    try:
        if inputs is None or wanted is None:
            _accumulate_all(recorder, found, create_graph)
            return ()
        gradients = [_total([found[s] for s in slots if s in found]) for slots in wanted]
        if accumulate:
            for x, gradient in zip(inputs, gradients):
                if gradient is not None:
                    _into_leaf(recorder, x, gradient, create_graph)
            return ()
        if not allow_unused:
            for position, gradient in enumerate(gradients):
                if gradient is None:
                    raise RuntimeError(
                        f"input {position} of autograd.grad was not used in computing the "
                        "outputs: leave it out, or pass allow_unused=True to get None for it"
                    )
        return tuple(gradients)
    finally:
        mode.grad = before


def _record(
    recorder: Recorder,
    ys: tuple[int, ...],
    gys: tuple[int, ...],
    wanted: tuple[tuple[int, ...], ...] | None,
    create_graph: bool,
    retain_graph: bool,
) -> dict[int, Tensor]:
    """Append one `grad` event; return the gradient of each slot that is reached."""

    def make() -> tuple[Event, tuple[Result, ...]]:
        seen, saving = reach(recorder.step, ys)
        candidates = recorder.leaves if wanted is None else {s for slots in wanted for s in slots}
        wrt = tuple(sorted(slot for slot in candidates if slot in seen))
        known = results_of(recorder.step)
        gradual = _gradual(recorder.step, ys, gys, wrt) if create_graph else [False] * len(wrt)
        results = tuple(
            Result(known[s].type, row_major(known[s].type.shape), requires_grad=g)  # type: ignore[arg-type]
            for s, g in zip(wrt, gradual)
        )
        event = GradEvent(ys, gys, wrt, create_graph, saving, callsite.location())
        return event, results

    # Which tensors are leaves is Python's to change while the function runs.
    targets = tuple(recorder.leaves) if wanted is None else wanted
    first = recorder.follow(("grad", ys, gys, targets, create_graph), make)
    event = recorder.step.event
    assert isinstance(event, GradEvent), "the step of a gradient holds its event"
    if not recorder.freed.isdisjoint(event.saving):
        raise RuntimeError(
            "Trying to backward through the graph a second time: the values that it saved have "
            "been freed. Pass retain_graph=True the first time."
        )
    if not retain_graph:
        recorder.freed |= event.saving
    return {
        slot: recorder.create(result, first + k, "grad")
        for k, (slot, result) in enumerate(zip(event.wrt, recorder.step.results))
    }


def _gradual(step: Step, ys: Sequence[int], gys: Sequence[int], wrt: Sequence[int]) -> list[bool]:
    """Tell which gradients of `ys` depend on values that require grad themselves."""
    from smelt.tracing.build import build_values

    builder, values = build_values("gradual", step)
    recorded = len(builder.nodes)
    nodes = _leading_to(builder.nodes, [values[slot] for slot in (*ys, *gys)])
    if any(node.op.name == "grad" for node in nodes):
        return [True] * len(wrt)  # a gradient of gradients: they hardly ever are constant
    operands = {v: v for v in builder.values()}
    chosen = [values[slot] for slot in wrt]
    found = differentiate(
        builder, nodes, operands, [values[s] for s in ys], [values[s] for s in gys], chosen
    )
    dependent = {v for v, r in zip(values, results_of(step)) if r.requires_grad}
    for node in builder.nodes[recorded:]:
        if not dependent.isdisjoint(node.inputs) and not stops(node):
            dependent.update(node.outputs)
    return [v in dependent for v in found]


def _leading_to(nodes: Sequence[Node], outputs: Iterable[Value]) -> list[Node]:
    """Return the nodes that some values depend on, in order."""
    needed = set(outputs)
    found: list[Node] = []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            found.append(node)
    found.reverse()
    return found


def _slots_of(recorder: Recorder, x: Tensor) -> tuple[int, ...]:
    """Return the slots under which gradients of `x` arrive: a leaf may have been rewritten."""
    if not x.requires_grad:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    slots = tuple([slot for slot, leaf in recorder.leaves.items() if leaf is x])
    return slots or (recorder.slot(x),)


def _total(gradients: list[Tensor]) -> Tensor | None:
    if not gradients:
        return None
    total = gradients[0]
    for gradient in gradients[1:]:
        total = apply("add", (total, gradient))
    return total


def _accumulate_all(recorder: Recorder, found: dict[int, Tensor], create_graph: bool) -> None:
    parts: dict[int, tuple[Tensor, list[Tensor]]] = {}
    for slot, gradient in found.items():
        leaf = recorder.leaves[slot]
        parts.setdefault(id(leaf), (leaf, []))[1].append(gradient)
    for leaf, gradients in parts.values():
        total = _total(gradients)
        assert total is not None, "a leaf is there with its gradients"
        _into_leaf(recorder, leaf, total, create_graph)


def _into_leaf(recorder: Recorder, leaf: Tensor, gradient: Tensor, create_graph: bool) -> None:
    """Add to `.grad`, calling the hooks of the leaf, as the engine of the tape does."""
    if leaf._node is not None and not isinstance(leaf._node, TracedNode):
        recorder.refuse(
            "backward() goes on into operations that ran before the compiled function",
            "call it on what the function returns, or compile the whole step",
        )
    if leaf._hooks:
        gradient = _hooked(leaf._hooks, gradient)
    before = leaf._grad
    if before is None:
        recorder.undo.append(lambda: setattr(leaf, "_grad", None))
        leaf._grad = gradient
    elif create_graph:
        recorder.preserve(leaf)
        leaf._grad = apply("add", (before, gradient))
    else:
        write(before, apply("add", (before, gradient)))
    if leaf._post_hooks:
        for hook in list(leaf._post_hooks.values()):
            hook(leaf)


def _hooked(hooks: dict[int, Callable[[Tensor], Any]], gradient: Tensor) -> Tensor:
    for hook in list(hooks.values()):
        replaced = hook(gradient)
        if replaced is None:
            continue
        if not isinstance(replaced, TensorBase):
            raise TypeError(f"a hook on a gradient must give a tensor or None, not {replaced!r}")
        if replaced._sizes != gradient._sizes:
            raise RuntimeError(
                f"a hook replaced a gradient of shape {list(gradient._sizes)} by one of shape "
                f"{list(replaced._sizes)}"
            )
        gradient = replaced  # type: ignore[assignment]
    return gradient
