"""Intermediate representations: types, graph IR, loop IR, and the definitions of all ops.

Graph IR is `smelt.ir.graph`, its text `smelt.ir.text`; loop IR is `smelt.ir.loop`; what an op is
stands in `smelt.ir.op`, and which there are in `smelt.ir.registry`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.ir.builder import GraphBuilder
    from smelt.ir.constant import ConstantValue
    from smelt.ir.dim import Dim, symbol
    from smelt.ir.equality import structurally_equal
    from smelt.ir.graph import Graph, Location, Node, Value
    from smelt.ir.interpreter import run_graph
    from smelt.ir.text import fingerprint, load_constants, parse, print_graph, save_constants
    from smelt.ir.types import TensorType

# Where each public name lives: imported when it is asked for, since eager code needs few of them.
_HOMES = {
    "ConstantValue": "smelt.ir.constant",
    "Dim": "smelt.ir.dim",
    "Graph": "smelt.ir.graph",
    "GraphBuilder": "smelt.ir.builder",
    "Location": "smelt.ir.graph",
    "Node": "smelt.ir.graph",
    "TensorType": "smelt.ir.types",
    "Value": "smelt.ir.graph",
    "fingerprint": "smelt.ir.text",
    "load_constants": "smelt.ir.text",
    "parse": "smelt.ir.text",
    "print_graph": "smelt.ir.text",
    "run_graph": "smelt.ir.interpreter",
    "save_constants": "smelt.ir.text",
    "structurally_equal": "smelt.ir.equality",
    "symbol": "smelt.ir.dim",
}

__all__ = [
    "ConstantValue",
    "Dim",
    "Graph",
    "GraphBuilder",
    "Location",
    "Node",
    "TensorType",
    "Value",
    "fingerprint",
    "load_constants",
    "parse",
    "print_graph",
    "run_graph",
    "save_constants",
    "structurally_equal",
    "symbol",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'smelt.ir' has no attribute {name!r}")
    return getattr(import_module(home), name)
