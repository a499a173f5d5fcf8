"""Programs with library calls in them: native programs, and the library's functions between them.

Takes an optimised graph in which some nodes are `Call`s; cuts it into runs of native nodes and
single calls, and has the face of an `Executable`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir.evaluate import evaluate
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.op import Call
from smelt.ir.types import Shape, row_major_strides
from smelt.runtime import DataError, Executable, Signature, Slot
from smelt.storage import Array


@dataclass(frozen=True)
class Part:
    """A run of native nodes.

    Attributes:
        inputs: values of the whole graph that it reads.
        outputs: values of the whole graph that it gives to others.
        executable: its machine code.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    executable: Executable


def has_calls(graph: Graph) -> bool:
    """Tell whether a graph has library calls."""
    return any(isinstance(node.op.rule, Call) for node in graph.nodes)


class HostedProgram:
    """A program that leaves native code for library calls.

    Attributes:
        signature: how its arguments are laid out.
    """

    def __init__(
        self,
        graph: Graph,
        layouts: Sequence[Shape | None],
        donated: Mapping[int, int],
        compile_part: Callable[[Graph], Executable],
    ) -> None:
        """Cut a graph into parts.

        Args:
            graph: an optimised graph of static sizes.
            layouts: strides of each input; None: row-major.
            donated: for each output that is written into the storage of an input, its number.
            compile_part: compiles an optimised graph of row-major inputs.
        """
        self._graph = graph
        self._steps: list[Part | Node] = []
        strides = [
            row_major_strides(v.type.shape) if s is None else s
            for v, s in zip(graph.inputs, layouts, strict=True)
        ]
        self.signature = Signature(
            graph.name,
            tuple(Slot(v.type.dtype, v.type.shape, s) for v, s in zip(graph.inputs, strides)),
            tuple(
                Slot(
                    v.type.dtype,
                    v.type.shape,
                    strides[donated[k]] if k in donated else row_major_strides(v.type.shape),
                )
                for k, v in enumerate(graph.outputs)
            ),
        )
        for nodes in _runs(graph):
            if isinstance(nodes[0].op.rule, Call):
                self._steps.append(nodes[0])
            else:
                self._steps.append(_part(graph, nodes, len(self._steps), compile_part))

    def new_output(self, number: int) -> tuple[Array, int]:
        """Return (row-major array, its address) for one output."""
        slot = self.signature.outputs[number]
        array = np.empty(slot.shape, slot.dtype.numpy)  # type: ignore[call-overload]
        return array, array.ctypes.data

    def run(self, inputs: Sequence[int], outputs: Sequence[int]) -> DataError | None:
        """Run over memory that the caller keeps alive; see `Executable.run`."""
        arrays = [_array_at(a, s) for a, s in zip(inputs, self.signature.inputs)]
        found = self(*arrays)
        if isinstance(found, DataError):
            return found
        for address, slot, array in zip(outputs, self.signature.outputs, found):
            _array_at(address, slot)[...] = array
        return None

    def __call__(self, *inputs: Array) -> tuple[Array, ...] | DataError:
        """Run over arrays; return the outputs, or what was wrong with the data."""
        known: dict[Value, Any] = dict(zip(self._graph.inputs, inputs, strict=True))
        for step in self._steps:
            if isinstance(step, Node):
                results = evaluate(step.op, step.attrs, tuple(known[v] for v in step.inputs))
                known.update(zip(step.outputs, results, strict=True))
                continue
            arguments = [np.asarray(known[v], order="C") for v in step.inputs]
            found = step.executable(*arguments)
            if isinstance(found, DataError):
                return found
            known.update(zip(step.outputs, found, strict=True))
        return tuple(known[v] for v in self._graph.outputs)


def _runs(graph: Graph) -> list[list[Node]]:
    """Return the nodes as runs of native ones and single calls, in order."""
    runs: list[list[Node]] = []
    for node in graph.nodes:
        alone = isinstance(node.op.rule, Call)
        if not runs or alone or isinstance(runs[-1][0].op.rule, Call):
            runs.append([node])
        else:
            runs[-1].append(node)
    return runs


def _part(
    graph: Graph, nodes: list[Node], number: int, compile_part: Callable[[Graph], Executable]
) -> Part:
    inside = set(nodes)
    made = {v for node in nodes for v in node.outputs}
    read = tuple(dict.fromkeys(v for node in nodes for v in node.inputs if v not in made))
    wanted = set(graph.outputs)
    given = tuple(
        v
        for node in nodes
        for v in node.outputs
        if v in wanted or any(user not in inside for user in graph.users[v])
    )
    part = Graph(f"{graph.name}_{number}", read, tuple(nodes), given)
    return Part(read, given, compile_part(part))


def _array_at(address: int, slot: Slot) -> Array:
    """Return the memory at an address as an array of a layout."""
    shape: Any = slot.shape
    strides: Any = slot.strides
    itemsize = slot.dtype.itemsize
    if 0 in shape:
        return np.empty(shape, slot.dtype.numpy)
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    memory: Any = (ctypes.c_char * (span * itemsize)).from_address(address)
    return np.ndarray(shape, slot.dtype.numpy, memory, 0, [s * itemsize for s in strides])
