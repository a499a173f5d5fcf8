"""Before and after, as text and in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.text import parse
from smelt.ir.verify import verify
from smelt.passes.base import Pass

from tests.graphs import same_bits


def expect(each: Pass, before: str, after: str) -> None:
    """Assert that a pass turns one text into another, and leaves that one alone."""
    graph = verify(parse(before))
    result = verify(each.run(graph))
    expected = verify(parse(after))
    assert str(result) == str(expected), f"{result}\nshould be\n{expected}"
    assert each.run(result) is result


def unchanged(each: Pass, text: str) -> None:
    """Assert that a pass gives back the same graph."""
    graph = verify(parse(text))
    assert each.run(graph) is graph


def same_results(before: Graph, after: Graph, arrays: tuple[np.ndarray[Any, Any], ...]) -> None:
    """Assert that two graphs give the same bits on `arrays`."""
    verify(after)
    assert [v.type for v in after.outputs] == [v.type for v in before.outputs]
    with np.errstate(all="ignore"):
        expected, found = run_graph(before, arrays), run_graph(after, arrays)
    for a, b in zip(expected, found, strict=True):
        assert same_bits(a, b), f"{after}\ngives {b!r} instead of {a!r}"
