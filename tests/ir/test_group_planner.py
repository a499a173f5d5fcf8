"""Plans of kernels: coordinates, outer axes, stages, and what may not share a kernel."""

from __future__ import annotations

from smelt.ir.group import Group
from smelt.ir.group_planner import plan
from smelt.ir.text import parse


def planned(text: str) -> Group:
    """Return the plan of a graph's nodes."""
    graph = parse(text)
    found = plan(graph.nodes, graph.outputs)
    assert isinstance(found, Group), found
    return found


def refused(text: str) -> str:
    """Return why the nodes of a graph cannot share a kernel."""
    graph = parse(text)
    found = plan(graph.nodes, graph.outputs)
    assert isinstance(found, str)
    return found


def outer_extents(group: Group) -> list[object]:
    return [group.extents[a] for a in group.outer]


def test_elementwise_groups_have_outer_axes_alone() -> None:
    group = planned("""graph g(%x: f32[3,1,5]) {
      %a: f32[3,1,5] = exp(%x)
      %b: f32[3,1,5] = mul(%a, %x)
      return %b, %a
    }""")
    assert outer_extents(group) == [3, 5]
    assert len(group.stages) == 1
    assert len(group.stages[0].stores) == 2


def test_a_reduction_splits_the_axes() -> None:
    group = planned("""graph g(%x: f32[3,4,50]) {
      %s: f32[3,4] = sum(%x) {dims=(2,)}
      %r: f32[3,4,1] = reshape(%s) {shape=(3, 4, 1)}
      %e: f32[3,4,50] = expand(%r) {shape=(3, 4, 50)}
      %y: f32[3,4,50] = div(%x, %e)
      return %y
    }""")
    assert outer_extents(group) == [3, 4]
    assert [len(s.reductions) for s in group.stages] == [1, 0]
    assert [[group.extents[a] for a in s.axes] for s in group.stages] == [[50], [50]]


def test_a_second_reduction_takes_outer_axes_away() -> None:
    group = planned("""graph g(%x: f32[30,40]) {
      %s: f32[30] = amax(%x) {dims=(1,)}
      %t: f32[] = sum(%s) {dims=(0,)}
      return %t
    }""")
    assert outer_extents(group) == []
    (first, second) = group.stages
    assert first.reductions[0].kept == first.axes[:1]
    assert second.reductions[0].kept == ()


def test_reshapes_carry_coordinates() -> None:
    group = planned("""graph g(%x: f32[6,50]) {
      %s: f32[6] = sum(%x) {dims=(1,)}
      %r: f32[2,3] = reshape(%s) {shape=(2, 3)}
      %y: f32[2,3] = exp(%r)
      return %y
    }""")
    assert outer_extents(group) == [6]


def test_a_reduction_must_be_read_where_it_is_stored() -> None:
    reason = refused("""graph g(%x: f32[20,20]) {
      %s: f32[20] = sum(%x) {dims=(1,)}
      %r: f32[1,20] = reshape(%s) {shape=(1, 20)}
      %e: f32[20,20] = expand(%r) {shape=(20, 20)}
      %d: f32[20,20] = div(%x, %e)
      %t: f32[20] = amax(%d) {dims=(1,)}
      %u: f32[20] = add(%t, %s)
      return %u
    }""")
    assert "outer iteration" in reason


def test_two_products_share_no_kernel() -> None:
    reason = refused("""graph g(%x: f32[64,64], %w: f32[64,64]) {
      %a: f32[64,64] = matmul(%x, %w)
      %b: f32[64,64] = matmul(%a, %w)
      return %b
    }""")
    assert "one contraction" in reason


def test_what_is_larger_than_a_product_is_no_epilogue() -> None:
    text = """graph g(%x: f32[64,64], %w: f32[64,64], %z: f32[3,64,64]) {
      %a: f32[64,64] = matmul(%x, %w)
      %e: f32[3,64,64] = expand(%a) {shape=(3, 64, 64)}
      %y: f32[3,64,64] = mul(%e, %z)
      return %y
    }"""
    assert "larger" in refused(text)


def test_unrelated_outputs_get_axes_of_their_own() -> None:
    group = planned("""graph g(%x: f32[3], %y: f32[4,5]) {
      %a: f32[3] = exp(%x)
      %b: f32[4,5] = exp(%y)
      return %a, %b
    }""")
    assert outer_extents(group) == []
    assert sorted(len(s.axes) for s in group.stages) == [1, 2]
