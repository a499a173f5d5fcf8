"""Running graphs on arrays: regions, symbolic sizes, what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.errors import ArgumentError
from smelt.ir.evaluate import evaluate
from smelt.ir.interpreter import run_graph
from smelt.ir.op import Expand, OpDef
from smelt.ir.specialise import bind_sizes, free_symbols, specialise
from smelt.ir.text import parse
from smelt.ir.verify import verify

from tests.graphs import same_bits, sample_graph

MEANINGFUL = [op for op in registry.OPS.values() if not isinstance(op.rule, Expand)]


@pytest.mark.parametrize("op", MEANINGFUL, ids=str)
def test_a_graph_of_one_node_gives_what_the_reference_gives(op: OpDef) -> None:
    for sample in op.samples():
        graph = sample_graph(op, sample)
        with np.errstate(all="ignore"):
            found = run_graph(graph, sample.operands)
            if graph.nodes[0].regions:
                continue
            expected = evaluate(op, graph.nodes[0].attrs, sample.operands)
        assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))


SYMBOLIC = """\
graph mean(%x: f32[n,m+1]) {
  %1: f32[n] = sum(%x) {dims=(1,)}
  %2: i64[] = dim_value() {dim=m+1}
  %3: f32[] = cast(%2) {dtype=f32}
  %4: f32[n] = expand(%3) {shape=(n,)}
  %5: f32[n] = div(%1, %4)
  %p: bool[] = full() {value=true, dtype=bool, shape=()}
  %7: f32[n,1] = cond(%p, %5)
    graph then(%y: f32[n]) {
      %1: f32[n,1] = reshape(%y) {shape=(n, 1)}
      return %1
    }
    graph else(%y: f32[n]) {
      %1: f32[n,1] = full() {value=0x0p+0, dtype=f32, shape=(n, 1)}
      return %1
    }
  return %7
}"""


def test_symbolic_sizes_reach_types_attributes_scalars_and_regions() -> None:
    graph = parse(SYMBOLIC)
    verify(graph)
    assert free_symbols(graph) == {"n", "m"}
    for rows, columns in ((3, 4), (1, 1), (0, 2)):
        x = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
        (found,) = run_graph(graph, [x], sizes={"m": columns - 1})
        np.testing.assert_array_equal(found, x.mean(axis=1, keepdims=True))


def test_specialised_graphs_verify_and_hold_no_symbols() -> None:
    graph = parse(SYMBOLIC)
    static = specialise(graph, {"n": 5, "m": 2})
    assert free_symbols(verify(static)) == frozenset()
    assert str(static).startswith("graph mean(%x: f32[5,3])")
    assert specialise(static, {"n": 7}) is static
    assert free_symbols(verify(specialise(graph, {"n": 5}))) == {"m"}


def test_sizes_are_bound_where_they_stand_alone() -> None:
    graph = parse("graph g(%x: f32[n,n*m], %y: f32[m]) {\n  return\n}")
    types = [v.type for v in graph.inputs]
    assert bind_sizes(types, [(2, 6), (3,)]) == {"n": 2, "m": 3}
    with pytest.raises(ArgumentError, match=r"dimension 1 is 5, and m\*n is 6 here"):
        bind_sizes(types, [(2, 5), (3,)])
    with pytest.raises(ArgumentError, match=r"input 0 must be f32\[n,m\*n\]; its shape is \(2,\)"):
        bind_sizes(types, [(2,), (3,)])
    with pytest.raises(ArgumentError, match=r"the sizes m in .* do not follow"):
        bind_sizes(types[:1], [(2, 6)])


def test_arrays_that_do_not_fit_are_refused() -> None:
    graph = parse("graph g(%x: f32[2]) {\n  return %x\n}")
    with pytest.raises(ArgumentError, match="g takes 1 inputs; got 0 arrays"):
        run_graph(graph, [])
    with pytest.raises(ArgumentError, match=r"input 0 must be f32\[2\]; it has dtype float64"):
        run_graph(graph, [np.zeros(2)])
    with pytest.raises(ArgumentError, match="dimension 0 is 3, and 2 is 2 here"):
        run_graph(graph, [np.zeros(3, np.float32)])


LOOPS = """\
graph loops(%x: f64[3], %n: i64[]) {
  %0: i64[] = full() {value=0, dtype=i64, shape=()}
  %i: i64[], %y: f64[3] = while_loop(%0, %x, %n) {carried=2}
    graph test(%i: i64[], %y: f64[3], %n: i64[]) {
      %3: bool[] = lt(%i, %n)
      return %3
    }
    graph body(%i: i64[], %y: f64[3], %n: i64[]) {
      %one: i64[] = full() {value=1, dtype=i64, shape=()}
      %4: i64[] = add(%i, %one)
      %sum: f64[], %sums: f64[3] = scan(%zero, %y) {carried=1, length=3, scanned=1}
        graph step(%c: f64[], %t: f64[]) {
          %2: f64[] = add(%c, %t)
          return %2, %2
        }
      return %4, %sums
    }
  return %i, %y
}""".replace(
    "      %sum: f64[]",
    "      %zero: f64[] = full() {value=0x0p+0, dtype=f64, shape=()}\n      %sum: f64[]",
)


def test_loops_within_loops() -> None:
    graph = verify(parse(LOOPS))
    x = np.array([1.0, 2.0, 4.0])
    for steps in (0, 1, 3):
        expected = x
        for _ in range(steps):
            expected = np.cumsum(expected)
        count, found = run_graph(graph, [x, np.array(steps)])
        assert count == steps
        np.testing.assert_array_equal(found, expected)
