"""Dependence of loops, guards of factors, joining of loops: what the schedule decides from."""

import pytest
from smelt.codegen.schedule.analysis import Dependence, dependence
from smelt.codegen.schedule.collapse import joined
from smelt.codegen.schedule.factor import guarded, unclamped
from smelt.codegen.schedule.reduce import LIMIT
from smelt.codegen.target import Target, narrowed
from smelt.ir import dtypes, scalar
from smelt.ir.loop.builder import (
    Names,
    allocated,
    for_nest,
    load,
    local,
    loop,
    minus,
    plus,
    store,
    times,
)
from smelt.ir.loop.grammar import Accumulate, For, If, Stmt, Store, row_major_buffer
from smelt.ir.loop.printer import print_expr
from smelt.ir.scalar import Const, Expr, Var, integer

F32 = dtypes.float32
X, Y = row_major_buffer("x", F32, (4096,)), row_major_buffer("y", F32, (4096,))
P, Q, R = Var("p"), Var("q"), Var("r")
ONE = Const(1.0, F32)


def kinds(*axes: tuple[Var, int], body: list[Stmt]) -> list[Dependence]:
    """Return the dependence of each loop of a nest, outermost first."""
    (found,) = for_nest(axes, body)
    result, around = [], {}
    for var, extent in axes:
        assert isinstance(found, For)
        result.append(dependence(found, around))
        around = {**around, var: (0, extent - 1)}
        found = found.body[0]
    return result


FREE, SUM, ORDER = Dependence.INDEPENDENT, Dependence.REDUCTION, Dependence.SEQUENTIAL


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (plus(times(P, 8), Q), [FREE, FREE]),
        (plus(P, times(Q, 16)), [FREE, FREE]),
        (plus(times(P, 7), Q), [ORDER, FREE]),
        (plus(P, Q), [ORDER, FREE]),
        (P, [FREE, ORDER]),
        (scalar.apply("floordiv", P, integer(2)), [ORDER, ORDER]),
    ],
)
def test_stores_to_different_elements_are_independent(
    place: Expr, expected: list[Dependence]
) -> None:
    assert kinds((P, 16), (Q, 8), body=[store(Y, [place], ONE)]) == expected


def test_a_middle_dimension_is_independent_of_those_around_it() -> None:
    place = plus(times(P, 64), plus(times(Q, 8), R))
    body = [store(Y, [place], ONE)]
    assert kinds((Q, 8), (P, 16), (R, 8), body=body) == [FREE, FREE, FREE]


def test_sums_into_one_element_are_a_reduction() -> None:
    acc = local("acc", F32, ())
    add = Accumulate(acc, (), "add", load(X, P))
    assert kinds((P, 16), body=[add]) == [SUM]
    assert kinds((P, 16), body=[add, store(Y, [P], load(acc))]) == [ORDER]
    assert kinds((P, 16), body=[add, Accumulate(acc, (), "mul", ONE)]) == [ORDER]


def test_sums_into_a_row_reduce_over_what_it_does_not_depend_on() -> None:
    row = local("row", F32, (8,))
    add = Accumulate(row, (Q,), "add", load(X, plus(times(P, 8), Q)))
    assert kinds((P, 16), (Q, 8), body=[add]) == [SUM, FREE]


def test_places_from_data_are_sequential() -> None:
    at = row_major_buffer("at", dtypes.int64, (16,))
    add = Accumulate(Y, (load(at, P),), "add", ONE)
    assert kinds((P, 16), body=[add]) == [ORDER]


def test_reading_what_an_iteration_before_wrote_is_sequential() -> None:
    assert kinds((P, 16), body=[store(Y, [plus(P, 1)], load(Y, P))]) == [ORDER]
    assert kinds((P, 16), body=[store(Y, [P], load(Y, P))]) == [FREE]


def test_private_memory_makes_no_dependence() -> None:
    acc = local("acc", F32, ())
    body = allocated([acc], [store(acc, [], ONE), store(Y, [P], load(acc))])
    assert kinds((P, 16), body=list(body)) == [FREE]


def window(extent: int) -> Expr:
    raw = minus(plus(P, Q), 1)
    inside = scalar.apply(
        "and",
        scalar.apply("le", integer(0), raw),
        scalar.apply("lt", raw, integer(extent)),
    )
    clamped = scalar.apply("min", integer(extent - 1), scalar.apply("max", integer(0), raw))
    return scalar.select(inside, load(X, clamped), Const(0.0, F32))


RANGES = {P: (0, 7), Q: (0, 2)}


def test_a_guard_frees_the_load_of_its_clamps() -> None:
    factor = guarded(scalar.apply("neg", window(8)), RANGES)
    assert print_expr(factor.value) == "-x[p + q - 1]"
    assert factor.inside is not None
    assert print_expr(factor.inside) == "p + q >= 1 and p + q < 9"
    assert factor.outside is not None
    assert print_expr(factor.outside) == "-0.0" or print_expr(factor.outside) == "-(0.0)"


def test_clamps_that_the_guard_does_not_cover_stay() -> None:
    half = scalar.select(
        scalar.apply("lt", P, integer(4)),
        load(X, scalar.apply("max", integer(0), minus(P, Q))),
        ONE,
    )
    assert guarded(half, RANGES).inside is None


def test_guarded_stores_become_branches() -> None:
    (stmt,) = unclamped((Store(Y, (P,), window(8)),), RANGES)
    assert isinstance(stmt, If) and len(stmt.orelse) == 1
    (summed,) = unclamped((Accumulate(Y, (P,), "add", window(8)),), RANGES)
    assert isinstance(summed, If) and summed.orelse == ()


def test_loops_join_only_where_indices_stay_simple() -> None:
    loops = [loop(P, 16, ()), loop(Q, 8, ())]
    flat = plus(times(P, 8), Q)
    whole, body = joined(loops, (store(Y, [flat], load(X, flat)),), Names({"p", "q"}), {})
    assert len(whole) == 1 and whole[0].stop == integer(128)
    assert body == (store(Y, [whole[0].var], load(X, whole[0].var)),)
    apart, _ = joined(loops, (store(Y, [flat], load(X, Q)),), Names({"p", "q"}), {})
    assert len(apart) == 2


def test_a_target_can_be_narrowed() -> None:
    wide = Target("x86_64", "znver4", "+avx2,+avx512f,+fma,+sse2", 512, 32)
    assert wide.lanes(F32) == 16
    avx2 = narrowed(wide, "avx2")
    assert avx2.lanes(F32) == 8 and avx2.has("fma") and not avx2.has("avx512f")
    assert not narrowed(wide, "sse2").has("fma")
    with pytest.raises(ValueError, match="does not have"):
        narrowed(avx2, "avx512")
    with pytest.raises(ValueError, match="unknown instruction set"):
        narrowed(wide, "mmx")


def test_the_limit_of_additions_is_the_projects() -> None:
    assert LIMIT == 512
