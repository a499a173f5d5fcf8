"""Intermediate representations: types, graph IR, loop IR, and the definitions of all ops.

Graph IR is `smelt.ir.graph`, its text `smelt.ir.text`; loop IR is `smelt.ir.loop`; what an op is
stands in `smelt.ir.op`, and which there are in `smelt.ir.registry`.
"""

from smelt.ir.builder import GraphBuilder
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import Dim, symbol
from smelt.ir.equality import structurally_equal
from smelt.ir.graph import Graph, Location, Node, Value
from smelt.ir.interpreter import run_graph
from smelt.ir.text import fingerprint, load_constants, parse, print_graph, save_constants
from smelt.ir.types import TensorType
from smelt.ir.verify import verify

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
    "verify",
]
