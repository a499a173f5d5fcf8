"""The passes that a captured graph goes through, in order, each with the reason for its place."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.ir.graph import Graph
from smelt.passes.autograd import Autograd
from smelt.passes.base import Instrument, Pass, run_passes
from smelt.passes.canonicalise import Canonicalise
from smelt.passes.contiguity import Contiguity
from smelt.passes.decompose import Decompose
from smelt.passes.fusion import Fusion
from smelt.passes.padding import Padding

EXPAND: tuple[Pass, ...] = (
    # First of all: what follows joins values that differentiation must keep apart. A joint graph
    # whose halves are called separately is partitioned right after it.
    Autograd(),
)

OPTIMISE: tuple[Pass, ...] = (
    # Before decomposition, while composites are whole: equal ones are joined at the price of one
    # comparison, and dead ones go before they multiply.
    Canonicalise(),
    # Lowering knows primitives only, and fusion sees through all that composites are made of.
    Decompose(),
    # Decomposition leaves constants to fold, and backward rules that computed the forward's inner
    # values again now hold the same nodes as the forward.
    Canonicalise(),
    # Views and copies meet their neighbours only now that nothing composite stands between them,
    # and must be few before groups are formed: each group repeats those that it reads through.
    Contiguity(),
    # After the algebra, which knows convolutions whole; the forward's padded operand serves the
    # backward too, so equal ones are joined once more.
    Padding(),
    Canonicalise(),
    # Last: what is in a group is seen by lowering alone.
    Fusion(),
)

PIPELINE: tuple[Pass, ...] = EXPAND + OPTIMISE


def optimise(graph: Graph, instruments: Sequence[Instrument] = ()) -> Graph:
    """Return what the whole pipeline makes of a captured graph."""
    return run_passes(PIPELINE, graph, instruments)
