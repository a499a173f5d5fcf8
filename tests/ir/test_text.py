"""Printing and parsing of graph IR are inverses."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from smelt.ir import dtypes, registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.constant import ConstantValue
from smelt.ir.dim import symbol
from smelt.ir.equality import structurally_equal
from smelt.ir.errors import ParseError
from smelt.ir.graph import Graph, Location
from smelt.ir.op import OpDef
from smelt.ir.text import fingerprint, load_constants, parse, print_graph, save_constants
from smelt.ir.text.attributes import print_attribute
from smelt.ir.text.constants import constants
from smelt.ir.types import TensorType
from smelt.ir.verify import verify

from tests.graphs import sample_graph

LAYER = """\
graph layer(%x: f32[n,4], %w: f32[8,4]) {
  %2: f32[4,8] = permute(%w) {dims=(1, 0)}  # model.py:31
  %y: f32[n,8] = matmul(%x, %2)  # model.py:31
  %4: f32[n,8] = full() {value=0x0p+0, dtype=f32, shape=(n, 8)}
  %y@5: f32[n,8] = maximum(%y, %4)  # my model.py:32
  return %y@5
}"""

BRANCH = """\
graph branch(%p: bool[], %x: f64[2*n,(n // 2)+1]) {
  %out: f64[2*n,(n // 2)+1], %3: f64[] = cond(%p, %x)  # a.py:1
    graph then(%x: f64[2*n,(n // 2)+1]) {
      %1: f64[] = sum(%x) {dims=(0, 1)}  # a.py:2
      return %x, %1
    }
    graph else(%0: f64[2*n,(n // 2)+1]) {
      %1: f64[2*n,(n // 2)+1] = neg(%0)  # a.py:4
      %2: f64[] = full() {value=-0x0p+0, dtype=f64, shape=()}
      return %1, %2
    }
  %4: f64[] = neg(%3)
  return %out, %4, %4
}"""

ODD = """\
graph "odd name"(%"x y": f32[0,1], %a.b_1: i64[]) {
  %2: i64[] = dim_value() {dim=-m+3*n*n+1}
  %3: i64[] = dim_value() {dim=7}
  %4: f32[2] = constant() {value=f32[2](0x1.8p+1, nan)}
  %5: bf16[] = constant() {value=bf16[](-inf)}
  %6: bool[2] = constant() {value=bool[2](true, false)}
  %7: i8[1] = constant() {value=i8[1](-128)}
  %8: c64[1] = constant() {value=c64[1](complex(0x1p+0, -0x0p+0))}
  %9: f32[0,3] = constant() {value=f32[0,3]()}
  return
}"""

EMPTY = """\
graph nothing() {
  return
}"""


@pytest.mark.parametrize(
    "text", [LAYER, BRANCH, ODD, EMPTY], ids=["layer", "branch", "odd", "empty"]
)
def test_text_round_trips(text: str) -> None:
    graph = parse(text)
    assert str(graph) == text
    assert structurally_equal(parse(str(graph)), graph)


def test_locations_and_hints_are_kept() -> None:
    graph = parse(LAYER)
    assert [node.location for node in graph.nodes] == [
        Location("model.py", 31),
        Location("model.py", 31),
        None,
        Location("my model.py", 32),
    ]
    assert [node.output.name for node in graph.nodes] == ["", "y", "", "y"]


def test_layout_of_the_text_does_not_matter() -> None:
    text = "graph g(%x:f32[2,],) # a comment\n{ %1 : f32[2]=neg( %x ) return %1 ,}"
    assert str(parse(text.replace("[2,]", "[2]"))) == (
        "graph g(%x: f32[2]) {\n  %1: f32[2] = neg(%x)\n  return %1\n}"
    )


def test_a_long_head_has_one_input_a_line() -> None:
    builder = GraphBuilder("wide")
    for k in range(12):
        builder.input(TensorType(dtypes.float32, (k,)), f"parameter_{k}")
    graph = builder.finish(())
    assert "\n    %parameter_3: f32[3],\n" in str(graph)
    assert structurally_equal(parse(str(graph)), graph)


@pytest.mark.parametrize("op", registry.OPS.values(), ids=str)
def test_samples_of_every_op_round_trip_and_verify(op: OpDef) -> None:
    for sample in op.samples():
        graph = verify(sample_graph(op, sample))
        text = str(graph)
        again = parse(text, constants(graph))
        assert str(again) == text
        assert structurally_equal(again, graph)
        assert fingerprint(again) == fingerprint(graph)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (3, "3"),
        (-3, "-3"),
        (0.1, "0x1.999999999999ap-4"),
        (-0.0, "-0x0p+0"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (5e-324, "0x0.0000000000001p-1022"),
        (complex(1, -0.0), "complex(0x1p+0, -0x0p+0)"),
        ('say "hi"\n', '"say \\"hi\\"\\n"'),
        (dtypes.bfloat16, "bf16"),
        (symbol("n") * 2 - 1, "2*n-1"),
        ((), "()"),
        ((1,), "(1,)"),
        ((1, (2.0, None)), "(1, (0x1p+1, none))"),
    ],
)
def test_text_of_attribute_values(value: object, text: str) -> None:
    assert print_attribute(value) == text


def test_every_bit_of_a_constant_is_kept() -> None:
    patterns = np.array([0x7FC00001, 0xFFC00000, 0x7F800001, 0x80000000, 1], np.uint32)
    halves = np.array([0x7FC1, 0xFF81, 0x8000, 1], np.uint16).view(ml_dtypes.bfloat16)
    for array in (patterns.view(np.float32), halves, np.array(complex(np.nan, -np.inf))):
        builder = GraphBuilder("g")
        graph = builder.finish([builder.constant(array)])
        again = parse(str(graph))
        (value,) = constants(again).values()
        assert value.array.tobytes() == array.tobytes()
        assert value.array.dtype == array.dtype


def large_constants() -> Graph:
    builder = GraphBuilder("weights")
    arrays = (
        np.arange(100, dtype=np.float32).reshape(4, 25),
        np.arange(40).astype(ml_dtypes.bfloat16),
        np.ones((3, 0, 2), np.float64),
        np.arange(64) % 3 == 0,
    )
    return builder.finish([builder.constant(a) for a in arrays])


def test_large_constants_lie_beside_the_text(tmp_path: Path) -> None:
    graph = large_constants()
    save_constants(graph, tmp_path / "weights.npz")
    assert len(str(graph)) < 400
    again = parse(str(graph), load_constants(tmp_path / "weights.npz"))
    assert structurally_equal(again, graph)


def test_invalid_constants_are_refused() -> None:
    graph = large_constants()
    with pytest.raises(ParseError, match=r"expected the array of digest [0-9a-f]{32} among the"):
        parse(str(graph))
    digest = next(iter(constants(graph)))
    with pytest.raises(ParseError, match=r"the array is a f32\[2\] of digest"):
        parse(str(graph), {**constants(graph), digest: np.zeros(2, np.float32)})


def test_a_constant_is_immutable() -> None:
    array = np.zeros(3)
    value = ConstantValue(array)
    array[0] = 1.0
    assert value.array[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        value.array[0] = 1.0


def test_fingerprints_ignore_names_and_locations_only() -> None:
    graph = parse(LAYER)
    renamed = LAYER.replace("%y@5", "%7").replace("%y", "%z").replace("model.py:31", "b.py:1")
    assert fingerprint(parse(renamed.replace("graph layer", "graph f"))) == fingerprint(graph)
    assert fingerprint(parse(LAYER.replace("(1, 0)", "(0, 1)"))) != fingerprint(graph)
    assert fingerprint(parse(LAYER.replace("=0x0p+0", "=-0x0p+0"))) != fingerprint(graph)
    assert print_graph(parse(renamed), locations=False).count("#") == 0


def test_structural_equality_sees_each_difference() -> None:
    graph = parse(LAYER)
    for old, new in [
        ("graph layer", "graph layers"),
        ("%x: f32[n,4]", "%x: f32[m,4]"),
        ("dims=(1, 0)", "dims=(0, 1)"),
        ("value=0x0p+0", "value=-0x0p+0"),
        ("matmul(%x, %2)", "matmul(%2, %x)"),
        ("# model.py:31", "# model.py:30"),
        ("%w", "%v"),
        ("return %y@5", "return %y"),
        ("maximum", "minimum"),
    ]:
        assert not structurally_equal(parse(LAYER.replace(old, new)), graph), new
    anonymous = parse(LAYER.replace("%w", "%v").replace("# model.py:31", ""))
    assert structurally_equal(anonymous, graph, names=False, locations=False)
