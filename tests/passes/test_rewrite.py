"""The walk that passes share."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.ir.builder import GraphBuilder, with_names
from smelt.ir.graph import Node, Value
from smelt.ir.text import parse
from smelt.ir.verify import verify
from smelt.passes.rewrite import rewrite, without_dead_nodes

TEXT = """\
graph g(%p: bool[], %x: f32[n]) {
  %y: f32[n] = exp(%x)  # a.py:1
  %z: f32[n] = cond(%p, %y)  # a.py:2
    graph then(%x: f32[n]) {
      %a: f32[n] = exp(%x)  # a.py:3
      %b: f32[n] = sin(%x)  # a.py:4
      return %a
    }
    graph else(%x: f32[n]) {
      return %x
    }
  %w: f32[n] = cos(%z)
  return %z
}"""


def exp_twice(builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
    """Turn exp(x) into sinh(x) + cosh(x)."""
    if node.op.name != "exp":
        return None
    (x,) = node.inputs
    return (builder("add", builder("sinh", x), builder("cosh", x)),)


def test_rules_apply_inside_of_regions_and_keep_names_and_lines() -> None:
    result = verify(rewrite(parse(TEXT), exp_twice))
    assert str(result) == str(
        parse(
            """graph g(%p: bool[], %x: f32[n]) {
              %2: f32[n] = sinh(%x)  # a.py:1
              %3: f32[n] = cosh(%x)  # a.py:1
              %y: f32[n] = add(%2, %3)  # a.py:1
              %z: f32[n] = cond(%p, %y)  # a.py:2
                graph then(%x: f32[n]) {
                  %1: f32[n] = sinh(%x)  # a.py:3
                  %2: f32[n] = cosh(%x)  # a.py:3
                  %a: f32[n] = add(%1, %2)  # a.py:3
                  %b: f32[n] = sin(%x)  # a.py:4
                  return %a
                }
                graph else(%x: f32[n]) {
                  return %x
                }
              %w: f32[n] = cos(%z)
              return %z
            }"""
        )
    )


def test_the_same_graph_comes_back_where_no_rule_applies() -> None:
    graph = parse(TEXT)
    assert rewrite(graph, lambda builder, node: None) is graph
    assert with_names(graph, {}) is graph


def test_dead_nodes_go_inside_of_regions_too() -> None:
    graph = parse(TEXT)
    result = verify(without_dead_nodes(graph, lambda node: False))
    assert [n.op.name for n in result.walk()] == ["exp", "cond", "exp"]
    assert without_dead_nodes(result, lambda node: False) is result
    kept = without_dead_nodes(graph, lambda node: node.op.name == "sin")
    assert [n.op.name for n in kept.walk()] == ["exp", "cond", "exp", "sin"]
    assert without_dead_nodes(graph, lambda node: True) is graph
