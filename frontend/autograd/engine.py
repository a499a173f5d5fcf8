"""The engine: walks the tape from outputs back to leaves.

Nodes run once all cotangents that flow into them have arrived, latest first. A plain pass computes
with NumPy arrays; one that is itself to be differentiated (`create_graph`) computes with tensors.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.autograd import tape
from smelt.autograd.modes import set_grad_enabled
from smelt.autograd.node import AccumulateGrad, Edge, Node
from smelt.base import TensorBase, wrap
from smelt.ir.errors import InternalError
from smelt.state import mode

if TYPE_CHECKING:
    from smelt.tensor import Tensor


# What looks at the cotangents that each node gives, where anomalies are to be found.
anomaly: list[Callable[[Node, Sequence[Any]], None] | None] = [None]


class Pass:
    """One backward pass.

    Attributes:
        taped: whether cotangents are tensors whose computation is taped.
        retain: whether nodes keep what they saved.
        accumulate: whether leaves add to their `.grad`.
        captured: cotangents that arrived at the edges asked for.
    """

    def __init__(
        self, *, taped: bool, retain: bool, accumulate: bool, targets: Iterable[Edge] | None
    ) -> None:
        self.taped = taped
        self.retain = retain
        self.accumulate = accumulate
        self.targets = None if targets is None else set(targets)
        self.captured: dict[Edge, Any] = {}
        self._buffers: dict[Node, list[Any]] = {}

    def run(self, roots: Sequence[tuple[Edge, Any]]) -> None:
        """Send cotangents from `roots` back through the tape."""
        waiting, useful = self._survey([edge[0] for edge, _ in roots])
        for (node, number), cotangent in roots:
            self._deliver(node, number, cotangent)
        ready = [(-node.order, id(node), node) for node in self._buffers if not waiting[node]]
        heapq.heapify(ready)
        with set_grad_enabled(self.taped):
            while ready:
                node = heapq.heappop(ready)[2]
                if useful is None or node in useful:
                    self._visit(node)
                for edge in node.edges:
                    if edge is None or edge[0] not in waiting:
                        continue
                    after = edge[0]
                    waiting[after] -= 1
                    if not waiting[after]:
                        heapq.heappush(ready, (-after.order, id(after), after))

    def _survey(self, roots: Sequence[Node]) -> tuple[dict[Node, int], set[Node] | None]:
        """Count the edges into each node that is reached; find those that lead to a target."""
        waiting: dict[Node, int] = dict.fromkeys(roots, 0)
        stack = list(waiting)
        found: list[Node] = []
        while stack:
            node = stack.pop()
            found.append(node)
            for edge in node.edges:
                if edge is None:
                    continue
                after = edge[0]
                if after in waiting:
                    waiting[after] += 1
                else:
                    waiting[after] = 1
                    stack.append(after)
        if self.targets is None:
            return waiting, None
        useful = {node for node, _ in self.targets if node in waiting}
        # Operands are older than results, so one sweep in the order of creation is enough, but
        # for nodes whose edges were set later (views of a written base): hence to a fixed point.
        ordered = sorted(found, key=lambda n: n.order)
        grown = True
        while grown:
            grown = False
            for node in ordered:
                if node not in useful and any(e is not None and e[0] in useful for e in node.edges):
                    useful.add(node)
                    grown = True
        return waiting, useful

    def _deliver(self, node: Node, number: int, cotangent: Any) -> None:
        buffer = self._buffers.get(node)
        if buffer is None:
            buffer = self._buffers[node] = []
        if len(buffer) <= number:
            buffer.extend([None] * (number + 1 - len(buffer)))
        held = buffer[number]
        if held is None:
            buffer[number] = cotangent
        elif self.taped:
            buffer[number] = tape.RULES("add", held, cotangent)
        else:
            buffer[number] = np.add(held, cotangent)

    def _visit(self, node: Node) -> None:
        cotangents = self._buffers.pop(node, None)
        if cotangents is None:
            cotangents = []
        if isinstance(node, AccumulateGrad):
            if cotangents and cotangents[0] is not None:
                self._arrive(node, cotangents[0])
            return
        width = node.width
        if len(cotangents) < width:
            cotangents.extend([None] * (width - len(cotangents)))
        if node.hooks:
            for number, hooks in node.hooks.items():
                if cotangents[number] is not None:
                    cotangents[number] = self._hooked(hooks, cotangents[number])
        if node.retained:
            for number, reference in node.retained.items():
                tensor = reference()
                if tensor is not None and cotangents[number] is not None:
                    self._add(tensor, cotangents[number])
        if self.targets is not None:
            for number, cotangent in enumerate(cotangents):
                if cotangent is not None and (node, number) in self.targets:
                    self.captured[node, number] = cotangent
        if all(c is None for c in cotangents) or not any(e is not None for e in node.edges):
            return
        pulled = list(node.pull(cotangents, self.taped))
        if anomaly[0] is not None:
            anomaly[0](node, pulled)
        if node.after_hooks:
            pulled = self._after(node, pulled, cotangents)
        if not self.retain:
            node.free()
        for edge, cotangent in zip(node.edges, pulled):
            if edge is not None and cotangent is not None:
                self._deliver(edge[0], edge[1], cotangent)

    def _after(self, node: Node, pulled: list[Any], cotangents: list[Any]) -> list[Any]:
        assert node.after_hooks is not None
        outgoing = tuple([self._tensor(c) for c in cotangents])
        for hook in list(node.after_hooks.values()):
            replaced = hook(tuple([self._tensor(c) for c in pulled]), outgoing)
            if replaced is not None:
                replaced = replaced if isinstance(replaced, tuple) else (replaced,)
                pulled = [self._raw(c) for c in replaced]
        return pulled

    def _arrive(self, node: AccumulateGrad, cotangent: Any) -> None:
        leaf = node.variable
        if leaf._hooks:
            cotangent = self._hooked(leaf._hooks, cotangent)
        if self.targets is not None and (node, 0) in self.targets:
            self.captured[node, 0] = cotangent
        if not self.accumulate:
            return
        self._add(leaf, cotangent)
        if leaf._post_hooks:
            for hook in list(leaf._post_hooks.values()):
                hook(leaf)

    def _add(self, tensor: Tensor, cotangent: Any) -> None:
        """Add a cotangent to `.grad`: in place, but where that is taped."""
        if tuple(cotangent.shape) != tensor._sizes:
            raise InternalError(
                f"a gradient of shape {list(cotangent.shape)} arrived at a tensor of shape "
                f"{list(tensor._sizes)}"
            )
        held = tensor._grad
        if held is None:
            tensor._grad = self._fresh(cotangent)
        elif self.taped or held._requires_grad:
            given = cotangent if self.taped else wrap(np.asarray(cotangent))
            tensor._grad = tape.RULES("add", held, given)
        else:
            array = held._values()
            np.add(array, cotangent, out=array)
            held._storage.epoch += 1
            held._version_counter.value += 1

    def _hooked(self, hooks: dict[int, Any], cotangent: Any) -> Any:
        for hook in list(hooks.values()):
            replaced = hook(self._tensor(cotangent))
            if replaced is None:
                continue
            if not isinstance(replaced, TensorBase):
                raise TypeError(
                    f"a hook on a gradient must give a tensor or None, not {type(replaced)}"
                )
            if replaced._sizes != tuple(cotangent.shape):
                raise RuntimeError(
                    f"a hook replaced a gradient of shape {list(cotangent.shape)} by one of shape "
                    f"{list(replaced._sizes)}"
                )
            cotangent = self._raw(replaced)
        return cotangent

    def _tensor(self, cotangent: Any) -> Any:
        if cotangent is None or self.taped:
            return cotangent
        return wrap(np.asarray(cotangent))

    def _raw(self, tensor: Any) -> Any:
        return tensor if tensor is None or self.taped else tensor._values()

    def _fresh(self, cotangent: Any) -> Tensor:
        """Return a row-major gradient, which shares memory with no other unless it is taped."""
        if not self.taped:
            return wrap(np.array(cotangent, order="C"))
        return cotangent if cotangent._layout.is_contiguous else tape.RULES("contiguous", cotangent)


def backward(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    inputs: Sequence[Tensor] | None,
    *,
    retain_graph: bool,
    create_graph: bool,
) -> None:
    """Add the gradients of `outputs` to `.grad` of the leaves, or of `inputs` alone."""
    tracer = mode.tracer
    if tracer is not None:
        tracer.backward(
            outputs,
            cotangents,
            inputs,
            retain_graph=retain_graph,
            create_graph=create_graph,
            accumulate=True,
            allow_unused=True,
        )
        return
    edges = _root_edges(outputs)
    roots = _with_cotangents(outputs, cotangents, edges, create_graph)
    targets = None
    if inputs is not None:
        targets = []
        for position, x in enumerate(inputs):
            edge = tape.edge_of(x)
            if edge is None:
                raise RuntimeError(
                    f"backward: inputs[{position}] does not require grad, so it has no gradient"
                )
            if x._node is not None:
                retain_grad(x)
            targets.append(edge)
    run = Pass(taped=create_graph, retain=retain_graph, accumulate=True, targets=targets)
    run.run(roots)


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    *,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to `inputs`.

    Raises:
        RuntimeError: an input does not require grad, or is unused and `allow_unused` is False.
    """
    tracer = mode.tracer
    if tracer is not None:
        return tracer.backward(
            outputs,
            cotangents,
            inputs,
            retain_graph=retain_graph,
            create_graph=create_graph,
            accumulate=False,
            allow_unused=allow_unused,
        )
    targets: list[Edge] = []
    for x in inputs:
        edge = tape.edge_of(x)
        if edge is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        targets.append(edge)
    roots = _with_cotangents(outputs, cotangents, _root_edges(outputs), create_graph)
    run = Pass(taped=create_graph, retain=retain_graph, accumulate=False, targets=targets)
    run.run(roots)
    found: list[Tensor | None] = []
    for position, edge in enumerate(targets):
        cotangent = run.captured.get(edge)
        if cotangent is None:
            if not allow_unused:
                raise RuntimeError(
                    f"input {position} of autograd.grad was not used in computing the outputs: "
                    "leave it out, or pass allow_unused=True to get None for it"
                )
            found.append(None)
        else:
            found.append(run._fresh(cotangent))
    return tuple(found)


def _root_edges(outputs: Sequence[Tensor]) -> list[Edge]:
    edges: list[Edge] = []
    for position, y in enumerate(outputs):
        edge = tape.edge_of(y)
        if edge is None:
            raise RuntimeError(
                f"element {position} of tensors does not require grad and does not have a grad_fn"
            )
        edges.append(edge)
    return edges


def _with_cotangents(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    edges: Sequence[Edge],
    taped: bool,
) -> list[tuple[Edge, Any]]:
    roots: list[tuple[Edge, Any]] = []
    for position, (y, given, edge) in enumerate(zip(outputs, cotangents, edges, strict=True)):
        cotangent = initial_cotangent(y, given, position)
        roots.append((edge, cotangent if taped else cotangent._values()))
    return roots


def initial_cotangent(y: Tensor, given: Tensor | None, position: int) -> Tensor:
    """Return the cotangent that a backward pass starts with: `given`, or 1 for a single element.

    Raises:
        RuntimeError: none is given for an output of several elements, or its shape differs.
    """
    sizes = y._sizes
    if given is None:
        if any(n != 1 for n in sizes):
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs: output "
                f"{position} has shape {list(sizes)}; pass its gradient"
            )
        return tape.RULES.full_like(y, 1)
    if given._sizes != sizes:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{position}] has shape {list(given._sizes)} and "
            f"output[{position}] has shape {list(sizes)}"
        )
    return tape.RULES.cast(given, y.dtype)


def retain_grad(tensor: Tensor) -> None:
    """Keep the gradient of a tensor that is no leaf in its `.grad`."""
    import weakref

    if not tape.requires(tensor):
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    node = tensor._node
    if node is None:
        return
    if node.retained is None:
        node.retained = {}
    node.retained[tensor._output_nr] = weakref.ref(tensor)
