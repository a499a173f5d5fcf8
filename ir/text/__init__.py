"""Graph IR as text: printer, parser, and the file of large constants beside it."""

from smelt.ir.text.constants import load_constants, save_constants
from smelt.ir.text.parser import parse
from smelt.ir.text.printer import fingerprint, print_graph, print_node

__all__ = [
    "fingerprint",
    "load_constants",
    "parse",
    "print_graph",
    "print_node",
    "save_constants",
]
