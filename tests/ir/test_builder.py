"""Building graphs by applying ops."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.builder import (
    GraphBuilder,
    apply_graph,
    copy_graph,
    decomposition,
    with_names,
)
from smelt.ir.dim import symbol
from smelt.ir.equality import structurally_equal
from smelt.ir.errors import DTypeError, TypeInferenceError
from smelt.ir.evaluate import NUMPY_RULES
from smelt.ir.graph import Location
from smelt.ir.text import parse
from smelt.ir.types import TensorType
from smelt.ir.verify import verify

PAIR = TensorType(dtypes.float32, (2,))


def test_ops_append_nodes_with_inferred_types_at_the_current_line() -> None:
    builder = GraphBuilder("f")
    x = builder.input(TensorType(dtypes.float32, (symbol("n"), 3)), "x")
    builder.at(Location("a.py", 4))
    y = builder("permute", x, dims=(1, 0))
    builder.at(None)
    total, places = builder("cummax", y, dim=0)
    graph = verify(builder.finish([total, places, x]))
    assert str(graph) == (
        "graph f(%x: f32[n,3]) {\n"
        "  %1: f32[3,n] = permute(%x) {dims=(1, 0)}  # a.py:4\n"
        "  %2: f32[3,n], %3: i64[3,n] = cummax(%1) {dim=0}\n"
        "  return %2, %3, %x\n"
        "}"
    )
    assert builder.type(y) == y.type
    assert builder.producer(x) is None
    assert builder.producer(places) is builder.nodes[1]
    assert builder.values() == (x, y, total, places)


def test_operands_that_do_not_fit_are_refused_at_once() -> None:
    builder = GraphBuilder("f")
    x, y = builder.input(PAIR), builder.input(TensorType(dtypes.float32, (3,)))
    with pytest.raises(TypeInferenceError, match="add: operands differ in shape"):
        builder("add", x, y)
    with pytest.raises(TypeInferenceError, match="add: takes the operands x, y; got none"):
        builder("add")
    assert builder.nodes == ()


def test_constants() -> None:
    builder = GraphBuilder("f")
    value = builder.constant(np.ones((2, 2), np.float32).T, "ones")
    assert (str(value.type), value.name) == ("f32[2,2]", "ones")
    with pytest.raises(DTypeError, match="no dtype for elements of type"):
        builder.constant(np.array(["a"]))


def test_helpers_of_rules_give_back_what_needs_no_op() -> None:
    builder = GraphBuilder("f")
    x = builder.input(TensorType(dtypes.float32, (2, 3)))
    assert builder.cast(x, dtypes.float32) is x
    assert builder.reshape(x, (2, 3)) is x
    assert builder.expand(x, (2, 3)) is x
    assert builder.permute(x, (0, 1)) is x
    assert builder.sum(x, ()) is x
    assert builder.unsqueeze(x, (0, 2)).type.shape == (1, 2, 1, 3)
    assert builder.spread(builder.sum(x, (0,)), (0,), (2, 3)).type == x.type


BODY = """\
graph body(%p: bool[], %x: f32[2]) {
  %y: f32[2] = cond(%p, %x)  # a.py:1
    graph then(%x: f32[2]) {
      return %x
    }
    graph else(%x: f32[2]) {
      %1: f32[2] = neg(%x)  # a.py:2
      return %1
    }
  return %y, %x
}"""


def test_graphs_are_inlined_any_number_of_times() -> None:
    body = parse(BODY)
    builder = GraphBuilder("f")
    p, x = builder.input(TensorType(dtypes.bool_, ())), builder.input(PAIR)
    first, same = builder.inline(body, [p, x])
    second, _ = builder.inline(body, [p, first])
    graph = verify(builder.finish([second]))
    assert same is x
    assert [str(n.location) for n in graph.walk()] == ["a.py:1", "a.py:2"] * 2


def test_copies_share_no_value() -> None:
    body = parse(BODY)
    copy = copy_graph(body)
    assert structurally_equal(copy, body)
    assert set(copy.values()).isdisjoint(body.values())
    regions = zip(copy.nodes[0].regions, body.nodes[0].regions)
    assert all(set(a.values()).isdisjoint(b.values()) for a, b in regions)


def test_graphs_apply_through_any_rules() -> None:
    body = parse(BODY)
    x = np.array([1.0, -2.0], np.float32)
    found = apply_graph(NUMPY_RULES, body, [np.array(False), x])
    np.testing.assert_array_equal(found[body.outputs[0]], -x)


def test_decompositions_are_graphs_over_the_operands() -> None:
    op = registry.OPS["square"]
    graph = verify(decomposition(op, op.attrs(), (PAIR,)))
    assert str(graph) == ("graph square(%x: f32[2]) {\n  %1: f32[2] = mul(%x, %x)\n  return %1\n}")


def test_hints_are_replaced() -> None:
    body = parse(BODY)
    renamed = with_names(body, {body.outputs[0]: "z"})
    assert str(renamed) == BODY.replace("%y", "%z")
    assert with_names(body, {}) is body
