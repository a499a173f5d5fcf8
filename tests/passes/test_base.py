"""Running passes, and what instruments see of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from smelt.ir.builder import GraphBuilder
from smelt.ir.errors import InternalError
from smelt.ir.graph import Graph
from smelt.ir.text import load_constants, parse
from smelt.passes.base import Dump, Print, Time, Verify, run_passes
from smelt.passes.canonicalise import Canonicalise
from smelt.passes.decompose import Decompose
from smelt.passes.pipeline import PIPELINE, optimise

SQUARE = "graph g(%x: f32[2]) {\n  %y: f32[2] = square(%x)\n  return %y\n}"
PRODUCT = "graph g(%x: f32[2]) {\n  %y: f32[2] = mul(%x, %x)\n  return %y\n}"


@dataclass(frozen=True)
class Break:
    """A pass that breaks graphs."""

    name: ClassVar[str] = "break"

    def run(self, graph: Graph) -> Graph:
        return Graph(graph.name, (), graph.nodes, graph.outputs)


def test_passes_run_in_order() -> None:
    time = Time()
    result = run_passes((Canonicalise(), Decompose()), parse(SQUARE), [time, Verify()])
    assert str(result) == PRODUCT
    assert [name for name, _ in time.seconds] == ["canonicalise", "decompose"]
    assert all(seconds >= 0 for _, seconds in time.seconds)


def test_a_pass_that_breaks_a_graph_is_named() -> None:
    with pytest.raises(InternalError, match=r"the pass break broke a graph; .*\n.*square"):
        run_passes((Break(),), parse(SQUARE), [Verify()])


def test_printing_shows_what_changed() -> None:
    stream = io.StringIO()
    run_passes((Canonicalise(), Decompose()), parse(SQUARE), [Print(stream)])
    expected = f"# before the passes\n{SQUARE}\n\n# after decompose\n{PRODUCT}\n\n"
    assert stream.getvalue() == expected


def test_dumps_are_numbered_and_read_back(tmp_path: Path) -> None:
    builder = GraphBuilder("g")
    weights = builder.constant(np.arange(100, dtype=np.float32))
    graph = builder.finish([builder("square", weights)])
    result = run_passes((Decompose(),), graph, [Dump(tmp_path / "dump")])
    names = sorted(p.name for p in (tmp_path / "dump").iterdir())
    assert names == ["000_trace.npz", "000_trace.txt", "001_decompose.npz", "001_decompose.txt"]
    text = (tmp_path / "dump" / "001_decompose.txt").read_text(encoding="utf-8")
    assert str(parse(text, load_constants(tmp_path / "dump" / "001_decompose.npz"))) == str(result)


def test_the_pipeline_settles() -> None:
    assert [each.name for each in PIPELINE][:3] == ["autograd", "canonicalise", "decompose"]
    text = """graph step(%x: f32[n,3], %w: f32[2,3], %s: f32[n,2]) {
      %y: f32[n,2] = linear(%x, %w)
      %z: f32[n,2] = gelu(%y) {approximate="none"}
      %g: f32[2,3] = grad(%z, %s, %w) {outputs=1}
      return %z, %g
    }"""
    graph = run_passes(PIPELINE[:4], parse(text), [Verify()])
    assert run_passes(PIPELINE[:4], graph, [Verify()]) is graph
    assert optimise(graph, [Verify()]) is not graph
