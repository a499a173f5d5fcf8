"""Graph IR: immutable graphs of operations in ordered SSA form.

A `Graph` owns its nodes in topological order; a node may own graphs in turn (its regions), whose
captures are explicit operands. Nobody edits a graph: a pass builds a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from smelt.ir.types import TensorType

if TYPE_CHECKING:
    from smelt.ir.op import OpDef


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What a node gives or a graph takes. Compared by identity.

    Attributes:
        type: element type and shape.
        name: the user's name for it, if known; a hint for readers, without meaning.
    """

    type: TensorType
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation.

    Attributes:
        op: its definition.
        inputs: its operands.
        attrs: an instance of `op.attrs`.
        regions: graphs that it owns; empty for most ops.
        outputs: its results.
        location: the user's line that caused it, if known.
    """

    op: OpDef
    inputs: tuple[Value, ...]
    attrs: Any
    regions: tuple[Graph, ...]
    outputs: tuple[Value, ...]
    location: Location | None = None

    @property
    def output(self) -> Value:
        """The result of a node that has exactly one."""
        (value,) = self.outputs
        return value

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        """Types of the operands."""
        return tuple(v.type for v in self.inputs)


@dataclass(frozen=True, eq=False)
class Graph:
    """A program: inputs, nodes in topological order, outputs.

    Attributes:
        name: what it is called in dumps and in the names of kernels.
        inputs: its parameters.
        nodes: operations, each after those that it reads.
        outputs: what it returns; a value may stand here more than once, and may be an input.
    """

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]

    @cached_property
    def producers(self) -> Mapping[Value, Node]:
        """The node that gives each value; inputs have none."""
        return {value: node for node in self.nodes for value in node.outputs}

    @cached_property
    def users(self) -> Mapping[Value, tuple[Node, ...]]:
        """The nodes that read each value, in order, each once."""
        found: dict[Value, dict[Node, None]] = {v: {} for v in self.values()}
        for node in self.nodes:
            for value in node.inputs:
                found[value][node] = None
        return {value: tuple(nodes) for value, nodes in found.items()}

    def values(self) -> Iterator[Value]:
        """Yield the inputs, then the results of the nodes, in order."""
        yield from self.inputs
        for node in self.nodes:
            yield from node.outputs

    def walk(self) -> Iterator[Node]:
        """Yield every node, those inside regions after the node that owns them."""
        for node in self.nodes:
            yield node
            for region in node.regions:
                yield from region.walk()

    def __str__(self) -> str:
        from smelt.ir.text.printer import print_graph

        return print_graph(self)
