"""Gradients across the boundary of a compiled function: its backward is compiled too.

When a result of a compiled function requires grad, the forward program also gives what its backward
program will read (its residuals), and the results hang on the tape by one node that runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt import autograd
from smelt.ir.graph import Graph, Value
from smelt.ir.interpreter import run_graph
from smelt.ir.registry import OPS
from smelt.ir.types import static_shape
from smelt.runtime.executable import DataError
from smelt.storage import Array, Storage
from smelt.tracing.build import build_graph, build_values
from smelt.tracing.gradients import reach

if TYPE_CHECKING:
    from smelt.hosted import HostedProgram
    from smelt.runtime.executable import Executable
    from smelt.tensor import Tensor
    from smelt.tracing.recorder import Recorder

_FREED = (
    "Trying to backward through the graph a second time: a backward() inside of the compiled "
    "function has freed what it saved. Pass retain_graph=True there."
)


@dataclass(eq=False)
class Boundary:
    """The backward side of a segment.

    Attributes:
        name: name of the compiled function.
        graph: what was recorded.
        forward: the program that is run: the recorded outputs, then the residuals.
        backward: its inputs are the residuals and those inputs of the recording that it reads,
            in the order of `sources`, then one cotangent a taped result; its outputs are the
            gradients of `wrt`. None where the history was freed inside.
        sources: for each input of `backward` but the cotangents, the number of the residual, or
            -1 - k for input k of the recording.
        wrt: slots of the tensors that gradients flow on to.
        reached: for each of `wrt`, which of the taped results depend on it.
    """

    name: str
    graph: Graph
    forward: Graph
    backward: Graph | None
    sources: tuple[int, ...]
    wrt: tuple[int, ...]
    reached: tuple[frozenset[int], ...]
    _native: Executable | HostedProgram | None = field(default=None, repr=False)

    def attach(self, recorder: Recorder, outputs: Sequence[Tensor], kept: Sequence[Array]) -> None:
        """Hang the results of a call on the tape."""
        inputs = [recorder.leaves[slot] for slot in self.wrt]
        for tensor in outputs:
            tensor._node = None
            tensor._requires_grad = False
        if self.backward is None:
            autograd.attach(outputs, inputs, _refuse_freed, self.name)
            return
        saved: list[Any] = []
        for source in self.sources:
            saved.append(kept[source] if source >= 0 else recorder.bound[-1 - source])
        versions = [_version_of(s) for s in saved]
        graph, name, reached = self.backward, self.name, self.reached
        types = [v.type for v in graph.inputs[len(saved) :]]

        def backward(cotangents: Sequence[Array | None]) -> list[Array | None]:
            for item, version in zip(saved, versions):
                if _version_of(item) != version:
                    raise RuntimeError(
                        "one of the variables needed for gradient computation has been modified "
                        f"by an inplace operation after the compiled function {name} read it: "
                        "compute the gradient before the write, or write to a clone()."
                    )
            given = [
                np.zeros(static_shape(t.shape), t.dtype.numpy)
                if g is None
                else np.asarray(g, t.dtype.numpy)
                for g, t in zip(cotangents, types)
            ]
            arrays = [_array_of(item) for item in (*saved, *given)]
            results = self._compiled()(*arrays)
            if isinstance(results, DataError):
                return list(run_graph(graph, arrays))  # raises what eager raises
            arrived = {k for k, g in enumerate(cotangents) if g is not None}
            return [
                None if arrived.isdisjoint(origins) else result
                for result, origins in zip(results, reached)
            ]

        autograd.attach(outputs, inputs, backward, self.name)

    def _compiled(self) -> Executable | HostedProgram:
        if self._native is None:
            from smelt import driver

            assert self.backward is not None, "there is a backward program"
            self._native = driver.compile_graph(self.backward, None, {})
        return self._native


def make(recorder: Recorder, name: str, outputs: Sequence[int], taped: Sequence[int]) -> Boundary:
    """Return the backward side of a recording.

    Args:
        recorder: the recording.
        name: name of the compiled function.
        outputs: slots that it returns.
        taped: slots of the results that require grad.
    """
    from smelt.passes.autograd import Autograd
    from smelt.passes.partition import partition

    graph = build_graph(name, recorder.step, outputs)
    seen, saving = reach(recorder.step, taped)
    wrt = tuple(sorted(slot for slot in recorder.leaves if slot in seen))
    passed = [reach(recorder.step, [slot])[0] for slot in taped]
    reached = tuple(frozenset(k for k, s in enumerate(passed) if slot in s) for slot in wrt)
    if not recorder.freed.isdisjoint(saving):
        return Boundary(name, graph, graph, None, (), wrt, reached)
    builder, values = build_values(name, recorder.step)
    ys = [values[slot] for slot in taped]
    gys = [builder.input(y.type) for y in ys]
    grad = OPS["grad"]
    found = builder.node(
        grad, (*ys, *gys, *[values[slot] for slot in wrt]), grad.attrs(outputs=len(ys))
    )
    joint = builder.finish([*[values[slot] for slot in outputs], *found])
    parts = partition(Autograd().run(joint), len(outputs), len(ys))
    kept: list[Value] = []
    sources: list[int] = []
    for number in parts.saved_inputs:
        if _stays(recorder, number):
            sources.append(-1 - number)
        else:
            sources.append(len(kept))
            kept.append(parts.forward.inputs[number])
    for number in parts.saved_outputs:
        # Results are the caller's, who may write to them: the backward has copies of its own.
        sources.append(len(kept))
        kept.append(parts.forward.outputs[number])
    results = (*parts.forward.outputs[: len(outputs)], *kept)
    forward = Graph(name, parts.forward.inputs, parts.forward.nodes, results)
    return Boundary(name, graph, forward, parts.backward, tuple(sources), wrt, reached)


def _stays(recorder: Recorder, number: int) -> bool:
    bound = recorder.bound[number]
    if isinstance(bound, np.ndarray):
        return True
    if isinstance(bound, Storage):
        return False
    return not bound._trace.cell.written


def _version_of(item: Any) -> int:
    return 0 if isinstance(item, np.ndarray) else item._version


def _array_of(item: Any) -> Array:
    array = item if isinstance(item, np.ndarray) else item._values()
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _refuse_freed(cotangents: Sequence[Array | None]) -> list[Array | None]:
    raise RuntimeError(_FREED)
