"""Random graphs on each rung: graph interpreter, loop interpreter, machine code.

Many drawn graphs go side by side into one, so that few native modules are made. Inputs are small
multiples of 1/4, so that most ops compute exactly and a comparison seldom hangs on rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from smelt.ir import dtypes
from smelt.ir.builder import GraphBuilder
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.interpreter import run_program
from smelt.ir.text import parse

from tests.codegen.llvm import native
from tests.ops.rungs import Batch, lowered, optimised, scheduled
from tests.strategies import PRIMITIVES, Case, graphs

BATCHES = 6


@dataclass(frozen=True)
class Together:
    """Cases side by side in one graph, and what it gives."""

    batch: Batch
    expected: tuple[Any, ...]
    texts: tuple[str, ...]


def drawn(number: int, each: int = 2, most: int = 5) -> list[Case]:
    """Draw cases; each batch ends its graphs with other primitives, so that all occur."""
    kept: list[Case] = []
    found: list[Case] = []
    share = PRIMITIVES[number::BATCHES]

    @settings(
        max_examples=each + 4,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def collect(case: Case) -> None:
        found.append(case)

    for op in share:
        given(graphs(last=op, most=most, special=False))(collect)()
        # The first that Hypothesis draws are the simplest.
        kept += found[-each:]
        found.clear()
    return kept


@cache
def together(number: int, each: int = 2, most: int = 5) -> Together:
    builder = GraphBuilder(f"random_{number}")
    arrays: list[np.ndarray[Any, Any]] = []
    outputs: list[Any] = []
    texts: list[str] = []
    slices: list[slice] = []
    for case in drawn(number, each, most):
        inputs = [builder.input(v.type) for v in case.graph.inputs]
        results = builder.inline(case.graph, inputs)
        slices.append(slice(len(outputs), len(outputs) + len(results)))
        arrays.extend(case.arrays)
        outputs.extend(results)
        texts.extend([str(case)] * len(results))
    batch = Batch(builder.finish(outputs), tuple(arrays), tuple(slices))
    with np.errstate(all="ignore"):
        expected = run_graph(batch.graph, arrays)
    return Together(batch, expected, tuple(texts))


def check(case: Together, found: tuple[Any, ...]) -> None:
    for mine, theirs, text in zip(found, case.expected, case.texts, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), text
        if not dtypes.of_numpy(theirs.dtype).is_floating_point:
            np.testing.assert_array_equal(mine, theirs, err_msg=text)
            continue
        half = theirs.dtype.itemsize == 2
        wide = mine.astype(np.float64), theirs.astype(np.float64)
        tolerance = 2e-2 if half else 2e-5
        np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance, err_msg=text)


BATCH = pytest.mark.parametrize("number", range(BATCHES))


@BATCH
def test_loop_interpreter(number: int) -> None:
    case = together(number)
    batch = case.batch
    with np.errstate(all="ignore"):
        check(case, run_program(lowered(batch, native.best()), batch.arrays))


@BATCH
def test_machine_code(number: int) -> None:
    case = together(number)
    batch = case.batch
    program = scheduled(lowered(batch, native.best()), native.best())
    check(case, native.run(program, batch.arrays, native.best()))


@BATCH
def test_machine_code_after_the_passes(number: int) -> None:
    case = together(number)
    batch = case.batch
    check(case, native.run(optimised(batch, native.best()), batch.arrays, native.best()))


@pytest.mark.deep
@BATCH
def test_many_more_graphs(number: int) -> None:
    case = together(number, each=12, most=8)
    batch = case.batch
    check(case, native.run(optimised(batch, native.best()), batch.arrays, native.best()))


def test_a_check_on_a_value_of_one_element_shares_its_kernel() -> None:
    text = """graph g(%x: i64[1], %y: i64[1], %at: i64[1]) {
      %less: bool[1] = le(%x, %y)
      %taken: bool[1] = index_select(%less, %at) {dim=0}
      %cast: bool[1] = cast(%at) {dtype=bool}
      return %cast, %less
    }"""
    arrays = (np.array([0]), np.array([-6]), np.array([0]))
    batch = Batch(parse(text), arrays, ())
    found = native.run(optimised(batch, native.best()), arrays, native.best())
    assert [bool(x[0]) for x in found] == [False, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_functions_at_the_ends_of_their_domains(dtype: Any) -> None:
    name = dtypes.of_numpy(np.dtype(dtype)).name
    text = f"""graph g(%x: {name}[9]) {{
      %1: {name}[9] = asin(%x)
      %2: {name}[9] = acos(%x)
      %3: {name}[9] = atanh(%x)
      return %1, %2, %3
    }}"""
    x = np.array([-1, -0.75, -0.5, -0.0, 0, 0.5, 0.75, 1, 2], dtype)
    batch = Batch(parse(text), (x,), ())
    with np.errstate(all="ignore"):
        expected = run_graph(batch.graph, (x,))
    found = native.run(optimised(batch, native.best()), (x,), native.best())
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
