"""Symbolic dimensions: canonical form, values, questions and guards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smelt.ir import dim as dims
from smelt.ir.dim import Assumptions, Dim, symbol
from smelt.ir.errors import UndecidedDimError

s, t = symbol("s"), symbol("t")


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, int | Dim]:
    """Draw an expression as Python source over s and t, and as a dimension."""
    if depth == 0 or draw(st.booleans()):
        leaf = draw(st.sampled_from(["s", "t", "1", "2", "3", "6"]))
        return leaf, {"s": s, "t": t}[leaf] if leaf.isalpha() else int(leaf)
    left_text, left = draw(expressions(depth - 1))
    operation = draw(st.sampled_from(["+", "-", "*", "//", "%"]))
    if operation in ("//", "%"):
        divisor = draw(st.sampled_from([2, 3, 4]))
        result = left // divisor if operation == "//" else left % divisor
        return f"({left_text} {operation} {divisor})", result
    right_text, right = draw(expressions(depth - 1))
    result = {"+": left + right, "-": left - right, "*": left * right}[operation]
    return f"({left_text} {operation} {right_text})", result


@given(expressions(), st.integers(0, 50), st.integers(0, 50))
def test_arithmetic_agrees_with_integers(
    expression: tuple[str, int | Dim], s_value: int, t_value: int
) -> None:
    text, dimension = expression
    expected = eval(text, {"s": s_value, "t": t_value})
    assert dims.evaluate(dimension, {"s": s_value, "t": t_value}) == expected
    assert dims.substitute(dimension, {"s": s_value, "t": t_value}) == expected


def test_equal_forms_are_equal_and_hash_alike() -> None:
    assert (s + 1) * (s - 1) == s * s - 1
    assert hash(2 * (s + t)) == hash(t * 2 + 2 * s)
    assert s - s == 0
    assert isinstance(s - s, int)
    assert (4 * s + 8) // 4 == s + 2
    assert (4 * s + 8) % 4 == 0
    assert (6 * s * t) // (2 * s) == 3 * t


def test_text_is_deterministic() -> None:
    assert str(2 * t + s * s - 3) == "s*s+2*t-3"
    assert str((s + 1) // 2) == "(s+1 // 2)"


def test_symbols_are_found_inside_quotients() -> None:
    assert dims.symbols((s + 1) // 2 + t) == {"s", "t"}


def test_what_follows_from_the_form_needs_no_guard() -> None:
    assert dims.holds(s, "<=", s + 1)
    assert not dims.holds(s + 1, "<", s)
    assert dims.holds(s + 1, "!=", 0)
    assert dims.holds(0, "<=", 2 * s + t)
    assert dims.same(s + t, t + s)


def test_what_depends_on_sizes_is_an_error_without_assumptions() -> None:
    with pytest.raises(UndecidedDimError, match="s == t"):
        dims.holds(s, "==", t)


def test_answers_taken_from_the_example_become_guards() -> None:
    with dims.assuming(Assumptions({"s": 4, "t": 4})) as assumptions:
        assert s == s
        assert dims.same(s, t)
        assert not s < 3
    assert assumptions.guards == {(s, "==", t): True, (s, "<", 3): False}


def test_division_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        s // 0
