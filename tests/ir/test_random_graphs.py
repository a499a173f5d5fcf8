"""Random graphs over every primitive: they verify, run, and round-trip as text."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from smelt.ir.equality import structurally_equal
from smelt.ir.interpreter import run_graph
from smelt.ir.text import fingerprint, parse
from smelt.ir.text.constants import constants
from smelt.ir.verify import verify

from tests.strategies import MAX_RANK, PRIMITIVES, Case, graphs

DRAWN: Counter[str] = Counter()
RANKS: Counter[int] = Counter()
SIZES: Counter[int] = Counter()


@pytest.mark.parametrize("op", PRIMITIVES)
def test_random_graphs_verify_run_and_round_trip(op: str) -> None:
    @settings(
        max_examples=5,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(last=op, most=4))
    def check(case: Case) -> None:
        graph = verify(case.graph)
        DRAWN.update(node.op.name for node in graph.nodes)
        RANKS.update(value.type.rank for value in graph.values())
        SIZES.update(size for value in graph.values() for size in value.type.sizes)
        again = parse(str(graph), constants(graph))
        assert structurally_equal(again, graph)
        assert fingerprint(again) == fingerprint(graph)
        with np.errstate(all="ignore"):
            run_graph(graph, case.arrays)

    check()


def test_every_primitive_rank_and_size_was_drawn() -> None:
    for op in PRIMITIVES:
        if op not in DRAWN:
            test_random_graphs_verify_run_and_round_trip(op)
    assert set(PRIMITIVES) <= DRAWN.keys()
    assert set(range(MAX_RANK + 1)) <= RANKS.keys()
    assert {0, 1} <= SIZES.keys()
