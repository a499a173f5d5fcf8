"""Random graphs over every primitive: passes, lowering and memory plan keep their values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from smelt.ir import dtypes
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.interpreter import run_program

from tests.codegen.lower.lowering import assert_close, lowered
from tests.strategies import PRIMITIVES, Case, graphs

PREFERRED = (dtypes.float32, dtypes.int64, dtypes.bool_)


@pytest.mark.parametrize("op", PRIMITIVES)
def test_programs_give_what_graphs_give(op: str) -> None:
    @settings(
        max_examples=4,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(last=op, most=5, special=False, preferred=PREFERRED))
    def check(case: Case) -> None:
        program = lowered(case.graph)
        with np.errstate(all="ignore"):
            assert_close(run_graph(case.graph, case.arrays), run_program(program, case.arrays))

    check()
