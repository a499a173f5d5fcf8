"""Canonicalisation, identity by identity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from smelt.ir import dtypes
from smelt.ir.errors import InternalError
from smelt.ir.text import parse
from smelt.passes.algebra import keeps_values
from smelt.passes.canonicalise import Canonicalise

from tests.passes.comparison import expect, same_results, unchanged
from tests.strategies import PRIMITIVES, Case, graphs

CANONICALISE = Canonicalise()
HEAD = "graph g(%x: f32[2,3], %y: f32[2,3], %i: i64[2], %p: bool[2,3], %h: f16[2], %n: f32[n,3])"


def graph(*lines: str) -> str:
    return "\n".join([f"{HEAD} {{", *lines, "}"])


FULL = "%{0}: f32[2,3] = full() {{value={1}, dtype=f32, shape=(2, 3)}}"
ZERO, MINUS_ZERO = FULL.format("c", "0x0p+0"), FULL.format("c", "-0x0p+0")
ONE, TWO = FULL.format("c", "0x1p+0"), FULL.format("c", "0x1p+1")
INT = "%c: i64[2] = full() {{value={0}, dtype=i64, shape=(2,)}}"


@pytest.mark.parametrize(
    "lines",
    [
        (MINUS_ZERO, "%r: f32[2,3] = add(%x, %c)"),
        (MINUS_ZERO, "%r: f32[2,3] = add(%c, %x)"),
        (ZERO, "%r: f32[2,3] = sub(%x, %c)"),
        (ONE, "%r: f32[2,3] = mul(%x, %c)"),
        (ONE, "%r: f32[2,3] = mul(%c, %x)"),
        (ONE, "%r: f32[2,3] = div(%x, %c)"),
        (ONE, "%r: f32[2,3] = pow(%x, %c)"),
        ("%1: f32[2,3] = neg(%x)", "%r: f32[2,3] = neg(%1)"),
        ("%r: f32[2,3] = maximum(%x, %x)",),
        ("%r: f32[2,3] = where(%p, %x, %x)",),
        (
            "%t: bool[2,3] = full() {value=true, dtype=bool, shape=(2, 3)}",
            "%r: f32[2,3] = where(%t, %x, %y)",
        ),
        ("%r: f32[2,3] = cast(%x) {dtype=f32}",),
        ("%1: f64[2,3] = cast(%x) {dtype=f64}", "%r: f32[2,3] = cast(%1) {dtype=f32}"),
        ("%r: f32[2,3] = reshape(%x) {shape=(2, 3)}",),
        ("%1: f32[6] = reshape(%x) {shape=(6,)}", "%r: f32[2,3] = reshape(%1) {shape=(2, 3)}"),
        ("%r: f32[2,3] = expand(%x) {shape=(2, 3)}",),
        ("%r: f32[2,3] = permute(%x) {dims=(0, 1)}",),
        (
            "%1: f32[3,2] = permute(%x) {dims=(1, 0)}",
            "%r: f32[2,3] = permute(%1) {dims=(1, 0)}",
        ),
        ("%r: f32[2,3] = flip(%x) {dims=()}",),
        ("%1: f32[2,3] = flip(%x) {dims=(0, 1)}", "%r: f32[2,3] = flip(%1) {dims=(0, 1)}"),
        ("%r: f32[2,3] = slice(%x) {starts=(0, 0), stops=(2, 3), steps=(1, 1)}",),
        ("%r: f32[2,3] = pad(%x) {low=(0, 0), high=(0, 0), value=0x0p+0}",),
        ("%r: f32[2,3] = cat(%x) {dim=1}",),
        ("%r: f32[2,3] = sum(%x) {dims=()}",),
    ],
    ids=lambda lines: lines[-1].split(" = ")[1],
)
def test_identities_to_an_operand(lines: tuple[str, ...]) -> None:
    expect(CANONICALISE, graph(*lines, "return %r"), graph("return %x"))


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        (("%1: f32[2,3] = neg(%y)", "%r: f32[2,3] = add(%x, %1)"), "sub(%x, %y)"),
        (("%1: f32[2,3] = neg(%y)", "%r: f32[2,3] = add(%1, %x)"), "sub(%x, %y)"),
        (("%1: f32[2,3] = neg(%y)", "%r: f32[2,3] = sub(%x, %1)"), "add(%x, %y)"),
        ((TWO, "%r: f32[2,3] = pow(%x, %c)"), "mul(%x, %x)"),
        (("%1: f32[2,3] = abs(%x)", "%r: f32[2,3] = abs(%1)"), "abs(%x)"),
    ],
)
def test_identities_to_an_op(lines: tuple[str, ...], result: str) -> None:
    after = graph(f"%r: f32[2,3] = {result}", "return %r")
    expect(CANONICALISE, graph(*lines, "return %r"), after)


@pytest.mark.parametrize(
    "lines",
    [
        (ZERO, "%r: f32[2,3] = add(%x, %c)"),
        (MINUS_ZERO, "%r: f32[2,3] = sub(%x, %c)"),
        (ZERO, "%r: f32[2,3] = mul(%x, %c)"),
        ("%r: f32[2,3] = sub(%x, %x)",),
        ("%r: f32[2,3] = div(%x, %x)",),
        ("%1: f16[2,3] = cast(%x) {dtype=f16}", "%r: f32[2,3] = cast(%1) {dtype=f32}"),
        ("%1: f32[2] = cast(%i) {dtype=f32}", "%r: i64[2] = cast(%1) {dtype=i64}"),
        ("%1: f32[2] = cast(%h) {dtype=f32}", "%r: i8[2] = cast(%1) {dtype=i8}"),
    ],
    ids=lambda lines: lines[-1].split(" = ")[1],
)
def test_what_would_change_bits_is_left_alone(lines: tuple[str, ...]) -> None:
    unchanged(CANONICALISE, graph(*lines, "return %r"))


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ((INT.format(0), "%r: i64[2] = add(%i, %c)"), None),
        ((INT.format(1), "%r: i64[2] = truncdiv(%i, %c)"), None),
        (("%r: i64[2] = sub(%i, %i)",), 0),
        ((INT.format(0), "%r: i64[2] = mul(%c, %i)"), 0),
    ],
)
def test_integers_have_identities_of_their_own(lines: tuple[str, ...], value: int | None) -> None:
    name = "%i" if value is None else "%r" if "sub" in lines[-1] else "%c"
    filled = () if value is None else (INT.format(value).replace("%c", name),)
    expect(CANONICALISE, graph(*lines, "return %r"), graph(*filled, f"return {name}"))


def test_division_by_a_power_of_two_becomes_a_product() -> None:
    expect(
        CANONICALISE,
        graph(TWO, "%r: f32[2,3] = div(%x, %c)", "return %r"),
        graph(
            FULL.format("2", "0x1p-1").replace("%2", "%6"),
            "%r: f32[2,3] = mul(%x, %6)",
            "return %r",
        ),
    )
    unchanged(
        CANONICALISE, graph(FULL.format("c", "0x1.8p+1"), "%r: f32[2,3] = div(%x, %c)", "return %r")
    )


def test_chains_of_movements_become_one() -> None:
    expect(
        CANONICALISE,
        graph(
            "%1: f32[3,2] = permute(%x) {dims=(1, 0)}",
            "%2: f32[3,1,2] = reshape(%1) {shape=(3, 1, 2)}",
            "%3: f32[2,3,1] = permute(%2) {dims=(2, 0, 1)}",
            "%4: f32[1,2,3] = permute(%3) {dims=(2, 0, 1)}",
            "%5: f32[n,1] = slice(%n) {starts=(0, 1), stops=(n, 2), steps=(1, 1)}",
            "%6: f32[n,4] = expand(%5) {shape=(n, 4)}",
            "%7: f32[5,n,4] = expand(%6) {shape=(5, n, 4)}",
            "return %4, %7",
        ),
        graph(
            "%6: f32[3,2] = permute(%x) {dims=(1, 0)}",
            "%7: f32[3,1,2] = reshape(%6) {shape=(3, 1, 2)}",
            "%8: f32[1,2,3] = permute(%7) {dims=(1, 2, 0)}",
            "%9: f32[n,1] = slice(%n) {starts=(0, 1), stops=(n, 2), steps=(1, 1)}",
            "%10: f32[5,n,4] = expand(%9) {shape=(5, n, 4)}",
            "return %8, %10",
        ),
    )
    text = """graph g(%x: f32[20]) {{
      {}
      return %r
    }}"""
    expect(
        CANONICALISE,
        text.format(
            "%1: f32[6] = slice(%x) {starts=(2,), stops=(19,), steps=(3,)}\n"
            "%r: f32[2] = slice(%1) {starts=(1,), stops=(5,), steps=(2,)}"
        ),
        text.format("%r: f32[2] = slice(%x) {starts=(5,), stops=(12,), steps=(6,)}"),
    )


def test_known_values_are_folded() -> None:
    expect(
        CANONICALISE,
        """graph g(%x: f32[3]) {
          %1: i64[] = dim_value() {dim=4}
          %2: f32[] = cast(%1) {dtype=f32}
          %3: f32[] = full() {value=0x1p+1, dtype=f32, shape=()}
          %4: f32[] = div(%3, %2)
          %5: f32[3] = expand(%4) {shape=(3,)}
          %6: f32[3] = constant() {value=f32[3](0x1p+0, 0x1p+1, 0x1.8p+1)}
          %7: f32[3] = add(%5, %6)
          %8: f32[2] = constant() {value=f32[2](0x1p+0, 0x1p+0)}
          %9: f32[3] = mul(%x, %7)
          return %9, %8
        }""",
        """graph g(%x: f32[3]) {
          %1: f32[3] = constant() {value=f32[3](0x1.8p+0, 0x1.4p+1, 0x1.cp+1)}
          %2: f32[2] = full() {value=0x1p+0, dtype=f32, shape=(2,)}
          %3: f32[3] = mul(%x, %1)
          return %3, %2
        }""",
    )


def test_large_constants_are_not_computed() -> None:
    text = """graph g() {
      %1: f32[100] = iota() {shape=(100,), dim=0, dtype=f32}
      %2: f32[100] = exp(%1)
      return %2
    }"""
    unchanged(CANONICALISE, text)


def test_equal_nodes_are_joined() -> None:
    expect(
        CANONICALISE,
        graph(
            "%a: f32[2,3] = add(%x, %y)",
            "%b: f32[2,3] = add(%y, %x)",
            "%c: f32[2,3] = sub(%x, %y)",
            "%d: f32[2,3] = sub(%y, %x)",
            "%e: f32[2,3] = mul(%a, %b)",
            "return %c, %d, %e",
        ),
        graph(
            "%a: f32[2,3] = add(%x, %y)",
            "%c: f32[2,3] = sub(%x, %y)",
            "%d: f32[2,3] = sub(%y, %x)",
            "%e: f32[2,3] = mul(%a, %a)",
            "return %c, %d, %e",
        ),
    )


def test_equal_random_draws_are_joined_and_different_ones_kept() -> None:
    text = """graph g(%seed: i64[], %a: i64[], %b: i64[]) {{
      %3: u32[4,1] = philox(%seed, %a) {{shape=(4,), words=1}}
      {}%5: u32[4,1] = philox(%seed, %b) {{shape=(4,), words=1}}
      return %3, {}, %5
    }}"""
    expect(
        CANONICALISE,
        text.format("%4: u32[4,1] = philox(%seed, %a) {shape=(4,), words=1}\n", "%4"),
        text.format("", "%3").replace("%5", "%4"),
    )


def test_zeros_of_either_sign_are_not_joined() -> None:
    unchanged(CANONICALISE, graph(ZERO, FULL.format("d", "-0x0p+0"), "return %c, %d"))


def test_dead_nodes_go_unless_they_may_raise() -> None:
    expect(
        CANONICALISE,
        graph(
            "%1: f32[2,3] = exp(%x)",
            "%2: f32[3,3] = index_select(%x, %i) {dim=0}".replace("3,3", "2,3"),
            "%3: i64[2] = floordiv(%i, %i)",
            "%4: f32[2,3] = exp(%2)",
            "return",
        ),
        graph(
            "%6: f32[2,3] = index_select(%x, %i) {dim=0}",
            "%7: i64[2] = floordiv(%i, %i)",
            "return",
        ),
    )


def test_regions_are_simplified_and_joined() -> None:
    expect(
        CANONICALISE,
        """graph g(%p: bool[], %x: f32[n]) {
          %2: f32[n] = cond(%p, %x)
            graph then(%x: f32[n]) {
              %1: f32[n] = neg(%x)
              %2: f32[n] = neg(%1)
              return %2
            }
            graph else(%x: f32[n]) {
              %1: f32[n] = exp(%x)
              %2: f32[n] = exp(%x)
              %3: f32[n] = add(%1, %2)
              return %3
            }
          %3: f32[n] = cond(%p, %x)
            graph then(%z: f32[n]) {
              return %z
            }
            graph else(%z: f32[n]) {
              %1: f32[n] = exp(%z)
              %3: f32[n] = add(%1, %1)
              return %3
            }
          %4: f32[n] = mul(%2, %3)
          return %4
        }""",
        """graph g(%p: bool[], %x: f32[n]) {
          %2: f32[n] = cond(%p, %x)
            graph then(%x: f32[n]) {
              return %x
            }
            graph else(%x: f32[n]) {
              %1: f32[n] = exp(%x)
              %2: f32[n] = add(%1, %1)
              return %2
            }
          %3: f32[n] = mul(%2, %2)
          return %3
        }""",
    )


def test_graphs_with_gradients_are_refused() -> None:
    text = """graph g(%x: f32[], %s: f32[]) {
      %2: f32[] = grad(%x, %s, %x) {outputs=1}
      return %2
    }"""
    with pytest.raises(InternalError, match="after the gradients are expanded"):
        CANONICALISE.run(parse(text))


def test_which_conversions_keep_values() -> None:
    small = [d for d in dtypes.ALL if d.bits <= 16 and not d.is_floating_point]
    for source in small:
        limits = (0, 1) if source is dtypes.bool_ else np.iinfo(source.numpy)
        low, high = limits if isinstance(limits, tuple) else (limits.min, limits.max)
        values = np.arange(low, high + 1).astype(source.numpy)
        for target in (*dtypes.INTEGERS, *dtypes.FLOATS):
            with np.errstate(all="ignore"):
                there = values.astype(target.numpy)
                kept = bool(np.all(there.astype(np.float64) == values.astype(np.float64)))
            assert keeps_values(source, target) == kept, (source, target)


@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(graphs(most=8))
def test_random_graphs_keep_their_bits(case: Case) -> None:
    same_results(case.graph, CANONICALISE.run(case.graph), case.arrays)


SIMPLE = tuple(
    op
    for op in PRIMITIVES
    if op
    in {
        "add", "sub", "mul", "div", "neg", "abs", "maximum", "where", "full", "constant", "reshape",
        "permute", "expand", "slice", "flip", "pad", "cast", "pow", "floor", "cat",
    }
)  # fmt: skip


@settings(
    max_examples=200,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(graphs(ops=SIMPLE, most=14, preferred=(dtypes.float32, dtypes.int64)))
def test_random_chains_keep_their_bits(case: Case) -> None:
    same_results(case.graph, CANONICALISE.run(case.graph), case.arrays)
