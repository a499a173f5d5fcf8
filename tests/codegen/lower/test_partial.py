"""Reductions in parts give what reductions in one go give."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.codegen.lower import partial
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph

from tests.codegen.lower.lowering import check, f32


def _graph(op: str) -> Graph:
    b = GraphBuilder(op)
    x = b.input(f32(6, 5, 4))
    match op:
        case "argmax":
            return b.finish([b(op, x, dim=None)])
        case "any":
            return b.finish([b(op, b("gt", x, b.full_like(x, 2.0)), dims=(0, 1, 2))])
        case "kept":
            return b.finish([b("sum", x, dims=(0, 2)), b("sum", x, dims=(0, 1, 2))])
        case _:
            return b.finish([b(op, x, dims=(0, 1, 2))])


@pytest.mark.parametrize("op", ["sum", "amax", "argmax", "any", "kept"])
def test_parts(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "_WORTH", 1)
    program = check(_graph(op))
    names = [p.name for k in program.kernels for p in k.params]
    assert any(n.startswith("partial") for n in names)


def test_nan_and_ties_go_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "_WORTH", 1)
    x = np.zeros((6, 5, 4), np.float32)
    check(_graph("argmax"), [x])
    x[4, 1, 2] = x[5, 0, 0] = np.nan
    check(_graph("argmax"), [x])
