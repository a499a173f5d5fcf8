"""Each rule of graph IR, broken once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.dim import Assumptions, assuming, symbol
from smelt.ir.errors import InternalError, UndecidedDimError, VerifyError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.op import NoAttrs
from smelt.ir.text import parse
from smelt.ir.types import TensorType
from smelt.ir.verify import verify

PAIR = TensorType(dtypes.float32, (2,))


def node(op: str, *inputs: Value, attrs: Any = None, outputs: tuple[Value, ...] = ()) -> Node:
    found = outputs or (Value(PAIR),)
    return Node(registry.OPS[op], inputs, NoAttrs() if attrs is None else attrs, (), found)


def error(graph: Graph) -> str:
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    return str(caught.value)


def test_a_good_graph_is_given_back() -> None:
    graph = parse("graph g(%x: f32[n]) {\n  %1: f32[n] = neg(%x)\n  return %1, %1, %x\n}")
    assert verify(graph) is graph


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%1: f64[2] = neg(%x)", "result 0 must be f32[2]; it is f64[2]"),
        ("%1: f32[3] = neg(%x)", "result 0 must be f32[2]; it is f32[3]"),
        ("%1: f32[2] = neg(%x, %x)", "neg: takes the operands x; got f32[2], f32[2]"),
        ("%1: f32[2] = add(%x)", "add: takes the operands x, y; got f32[2]"),
        ("%1: f32[2], %2: f32[2] = neg(%x)", "expected 1 results; there are 2"),
        ("() = neg(%x)", "expected 1 results; there are 0"),
        (
            "%1: f32[2] = full() {value=0x0p+0, dtype=f32, shape=(bits+1,)}",
            "attribute shape: a symbolic size cannot be called bits",
        ),
        (
            "%1: f32[inf] = neg(%x)",
            "result 0: a symbolic size cannot be called inf",
        ),
        (
            "%1: f32[2] = neg(%x)\n    graph g() {\n      return\n    }",
            "neg: owns no graphs; got 1",
        ),
        ("%1: f32[2] = fusion(%x)", "fusion: owns one graph; got 0"),
        (
            "%1: f32[2] = fusion(%x)\n    graph g(%y: f32[3]) {\n      return %y\n    }",
            "fusion: the group takes (f32[3]); the operands are (f32[2])",
        ),
        (
            "%1: f32[2] = fusion(%x)\n    graph g(%y: f32[2]) {\n"
            "      %1: f32[3] = neg(%y)\n      return %1\n    }",
            "in graph g: result 0 must be f32[2]; it is f32[3]",
        ),
        ("%1: f32[2] = cond(%x)", "cond: owns the graphs then, else; got 0"),
        ("%1: f32[2] = grad(%x) {outputs=1}", "grad: expected 1 values to differentiate and as"),
        (
            "%1: f32[2] = grad(%x, %i) {outputs=1}",
            "grad: the cotangent of ys[0] must have its type f32[2]; it is i64[]",
        ),
        (
            "%1: f32[2] = grad(%i, %i, %x) {outputs=1}",
            "grad: operand 0 must be floating-point; it is i64[]",
        ),
    ],
)
def test_invalid_node(line: str, message: str) -> None:
    graph = parse(f"graph g(%x: f32[2], %i: i64[]) {{\n  {line}\n  return\n}}")
    found = error(graph)
    assert message in found
    assert found.startswith("in graph g: ")
    assert line.split(" = ")[-1].split("(")[0] in found.split("\n")[1]


def test_invalid_definitions() -> None:
    x, y = Value(PAIR, "x"), Value(PAIR)
    assert "input 1: the value of type f32[2] is defined twice" in error(Graph("g", (x, x), (), ()))
    neg = node("neg", x, outputs=(x,))
    assert "result 0: the value of type f32[2] is defined twice" in error(
        Graph("g", (x,), (neg,), ())
    )
    neg = node("neg", x, outputs=(y,))
    assert "the node stands in the graph twice" in error(Graph("g", (x,), (neg, neg), ()))
    wrong = TensorType(dtypes.float32, (-1,))
    assert "the type f32[-1] has a negative dimension" in error(Graph("g", (Value(wrong),), (), ()))


def test_invalid_uses() -> None:
    x, y, z = Value(PAIR, "x"), Value(PAIR, "y"), Value(PAIR, "z")
    first, second = node("neg", y, outputs=(z,)), node("neg", x, outputs=(y,))
    found = error(Graph("g", (x,), (first, second), ()))
    assert found == (
        "in graph g: operand 0 (f32[2]) is used before it is defined\n  %z: f32[2] = neg(%y)"
    )
    assert "operand 0 (f32[2]) is not a value of this graph\n  %1: f32[2] = neg(%?y)" in error(
        Graph("g", (x,), (node("neg", y),), ())
    )
    assert "output 0 (f32[2]) is not a value of this graph" in error(Graph("g", (x,), (), (y,)))


def test_invalid_regions() -> None:
    x, y = Value(PAIR, "x"), Value(PAIR, "y")
    fusion = registry.OPS["fusion"]

    def around(region: Graph) -> Graph:
        owner = Node(fusion, (x,), NoAttrs(), (region,), (Value(PAIR),))
        return Graph("outer", (x,), (owner,), ())

    captured = Graph("inner", (y,), (node("neg", x),), (y,))
    assert (
        "in graph inner: operand 0 (f32[2]) is captured from the graph outer without being an "
        "operand of the node that owns the region"
    ) in error(around(captured))
    shared = Graph("inner", (x,), (), (x,))
    assert "input 0: the value of type f32[2] belongs to the graph outer too" in error(
        around(shared)
    )


def test_invalid_ops_and_attributes() -> None:
    x = Value(PAIR, "x")
    stranger = node("neg", x)
    stranger = replace(stranger, op=replace(stranger.op, name="negate"))
    assert "negate is not the registered op of that name" in error(
        Graph("g", (x,), (stranger,), ())
    )
    permute = registry.OPS["permute"]
    plain = node("permute", x)
    assert "attributes must be PermuteAttrs; they are NoAttrs" in error(
        Graph("g", (x,), (plain,), ())
    ).replace(permute.attrs.__name__, "PermuteAttrs")
    for dims, problem in [
        ([0], "attribute dims: [0] of type list is not an attribute value"),
        (Odd(), "attribute dims: Odd() of type Odd is not an attribute value"),
    ]:
        wrong = node("permute", x, attrs=permute.attrs(dims=dims))
        assert problem in error(Graph("g", (x,), (wrong,), ()))


@dataclass(frozen=True)
class Odd:
    """What no attribute may hold."""


def test_questions_about_sizes_need_assumptions() -> None:
    graph = parse("graph g(%x: f32[n], %y: f32[m]) {\n  %2: f32[n] = add(%x, %y)\n  return %2\n}")
    with pytest.raises((UndecidedDimError, VerifyError)):
        verify(graph)
    with assuming(Assumptions({"n": 3, "m": 3})):
        verify(graph)


def test_invalid_use_of_a_builder() -> None:
    builder, other = GraphBuilder("g"), GraphBuilder("h")
    x = other.input(TensorType(dtypes.float32, (symbol("n"),)))
    with pytest.raises(InternalError, match=r"operand 0 .* is not a value of the graph g"):
        builder("neg", x)
    with pytest.raises(InternalError, match=r"output 0 .* is not a value of the graph g"):
        builder.finish([x])
