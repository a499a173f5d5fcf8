"""The autograd pass, as text."""

from __future__ import annotations

from smelt.passes.autograd import Autograd

from tests.passes.comparison import expect, unchanged

AUTOGRAD = Autograd()


def test_a_product() -> None:
    expect(
        AUTOGRAD,
        """graph g(%x: f32[3], %w: f32[3], %s: f32[3]) {
          %y: f32[3] = mul(%x, %w)  # a.py:1
          %gx: f32[3], %gw: f32[3] = grad(%y, %s, %x, %w) {outputs=1}  # a.py:2
          return %y, %gx, %gw
        }""",
        """graph g(%x: f32[3], %w: f32[3], %s: f32[3]) {
          %y: f32[3] = mul(%x, %w)  # a.py:1
          %gx: f32[3] = mul(%s, %w)  # a.py:1
          %gw: f32[3] = mul(%s, %x)  # a.py:1
          return %y, %gx, %gw
        }""",
    )


def test_cotangents_of_a_value_used_twice_are_added() -> None:
    expect(
        AUTOGRAD,
        """graph g(%x: f32[n], %s: f32[n]) {
          %a: f32[n] = sin(%x)
          %b: f32[n] = exp(%x)
          %c: f32[n] = add(%a, %b)
          %g: f32[n] = grad(%c, %s, %x) {outputs=1}
          return %g
        }""",
        """graph g(%x: f32[n], %s: f32[n]) {
          %a: f32[n] = sin(%x)
          %b: f32[n] = exp(%x)
          %c: f32[n] = add(%a, %b)
          %5: f32[n] = mul(%s, %b)
          %6: f32[n] = cos(%x)
          %7: f32[n] = mul(%s, %6)
          %g: f32[n] = add(%5, %7)
          return %g
        }""",
    )


def test_detach_stops_the_gradient_and_goes() -> None:
    expect(
        AUTOGRAD,
        """graph g(%x: f32[], %s: f32[]) {
          %1: f32[] = detach(%x)
          %2: f32[] = mul(%x, %1)
          %g: f32[] = grad(%2, %s, %x) {outputs=1}
          %3: f32[] = detach(%g)
          return %3
        }""",
        """graph g(%x: f32[], %s: f32[]) {
          %2: f32[] = mul(%x, %x)
          %g: f32[] = mul(%s, %x)
          return %g
        }""",
    )


def test_a_branch_has_a_branch_as_its_gradient() -> None:
    expect(
        AUTOGRAD,
        """graph g(%p: bool[], %x: f32[n], %s: f32[n]) {
          %y: f32[n] = cond(%p, %x)
            graph then(%x: f32[n]) {
              %1: f32[n] = exp(%x)
              return %1
            }
            graph else(%x: f32[n]) {
              return %x
            }
          %g: f32[n] = grad(%y, %s, %x) {outputs=1}
          return %g
        }""",
        """graph g(%p: bool[], %x: f32[n], %s: f32[n]) {
          %y: f32[n] = cond(%p, %x)
            graph then(%x: f32[n]) {
              %1: f32[n] = exp(%x)
              return %1
            }
            graph else(%x: f32[n]) {
              return %x
            }
          %g: f32[n] = cond(%p, %x, %s)
            graph then_backward(%x: f32[n], %1: f32[n]) {
              %2: f32[n] = exp(%x)
              %3: f32[n] = mul(%1, %2)
              return %3
            }
            graph else_backward(%x: f32[n], %1: f32[n]) {
              return %1
            }
          return %g
        }""",
    )


def test_a_graph_without_gradients_is_left_alone() -> None:
    unchanged(
        AUTOGRAD,
        """graph g(%x: f32[]) {
          %1: f32[] = exp(%x)
          return %1
        }""",
    )
