"""From graph IR to its text.

    graph forward(%x: f32[n,4], %w: f32[8,4]) {
      %2: f32[4,8] = permute(%w) {dims=(1, 0)}  # model.py:31
      %y: f32[n,8] = matmul(%x, %2)  # model.py:31
      return %y
    }

One line a node. The graphs that a node owns follow it, indented; each numbers its own values. A
value is called by its hint, or by its number if it has none; a hint that is used again carries the
number as well (`%y@7`). The text depends on nothing but the graph, and `parse` reads it back.
"""

from __future__ import annotations

import hashlib
import json
import re

from smelt.ir import attributes
from smelt.ir.attributes import items
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.text.attributes import print_attribute

_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def print_graph(graph: Graph, locations: bool = True) -> str:
    """Return the text of a graph, one line a node, without a newline at the end."""
    return "\n".join(_graph_lines(graph, "", locations))


def print_node(node: Node, graph: Graph) -> str:
    """Return the text of one node, named as in the text of the `graph` that it is in."""
    names = value_names(graph)
    for value in (*node.inputs, *node.outputs):
        names.setdefault(value, "%?" if not value.name else f"%?{print_name(value.name)}")
    return "\n".join(_node_lines(node, names, "", True))


def print_name(name: str) -> str:
    """Return a name as text, in quotes unless it is a plain word."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def value_names(graph: Graph) -> dict[Value, str]:
    """Return what each value of `graph` is called in its text."""
    names: dict[Value, str] = {}
    taken: set[str] = set()
    for number, value in enumerate(graph.values()):
        if not value.name:
            names[value] = f"%{number}"
        elif value.name in taken:
            names[value] = f"%{print_name(value.name)}@{number}"
        else:
            names[value] = f"%{print_name(value.name)}"
            taken.add(value.name)
    return names


def fingerprint(graph: Graph) -> str:
    """Return a SHA-256 of a graph that is the same whatever its names and locations."""
    return hashlib.sha256("\n".join(_canonical_lines(graph)).encode()).hexdigest()


def _graph_lines(graph: Graph, indent: str, locations: bool) -> list[str]:
    names = value_names(graph)
    parameters = [f"{names[v]}: {v.type}" for v in graph.inputs]
    head = f"{indent}graph {print_name(graph.name)}("
    lines = [f"{head}{', '.join(parameters)}) {{"]
    if len(lines[0]) > _WIDTH:
        inner = [f"{indent}    {parameter}," for parameter in parameters]
        lines = [head, *inner, f"{indent}) {{"]
    for node in graph.nodes:
        lines.extend(_node_lines(node, names, indent + "  ", locations))
    results = ", ".join(names.get(v, "%?") for v in graph.outputs)
    lines.append(f"{indent}  return {results}".rstrip())
    lines.append(f"{indent}}}")
    return lines


def _node_lines(node: Node, names: dict[Value, str], indent: str, locations: bool) -> list[str]:
    results = ", ".join(f"{names[v]}: {v.type}" for v in node.outputs) or "()"
    operands = ", ".join(names.get(v, "%?") for v in node.inputs)
    line = f"{indent}{results} = {node.op.name}({operands})"
    fields = ", ".join(f"{name}={print_attribute(value)}" for name, value in items(node.attrs))
    if fields:
        line += f" {{{fields}}}"
    if locations and node.location is not None:
        line += f"  # {node.location}"
    lines = [line]
    for region in node.regions:
        lines.extend(_graph_lines(region, indent + "  ", locations))
    return lines


def _canonical_lines(graph: Graph) -> list[str]:
    number = {value: str(k) for k, value in enumerate(graph.values())}
    lines = [f"graph {' '.join(str(v.type) for v in graph.inputs)}"]
    for node in graph.nodes:
        types = " ".join(str(v.type) for v in node.outputs)
        operands = " ".join(number[v] for v in node.inputs)
        lines.append(f"{types} = {node.op.name} {operands} {attributes.key(node.attrs)!r}")
        for region in node.regions:
            lines.extend(_canonical_lines(region))
    lines.append(f"return {' '.join(number[v] for v in graph.outputs)}")
    return lines
