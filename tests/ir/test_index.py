"""Index expressions: simplification keeps values, bounds hold, strides are right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.ir import dtypes, index, scalar
from smelt.ir.scalar import Apply, Const, Expr, Var, integer

VARIABLES = (Var("i"), Var("j"), Var("n"))
RANGES = {Var("i"): (0, 12), Var("j"): (0, 15)}
I0, J, N = VARIABLES


def evaluate(expr: Expr, values: dict[Var, int]) -> int | bool:
    match expr:
        case Const(value, _):
            return value
        case Var():
            return values[expr]
        case Apply(op, args, _):
            a = [evaluate(x, values) for x in args]
            return {
                "add": lambda: a[0] + a[1], "sub": lambda: a[0] - a[1], "mul": lambda: a[0] * a[1],
                "floordiv": lambda: a[0] // a[1], "mod": lambda: a[0] % a[1],
                "min": lambda: min(a), "max": lambda: max(a), "neg": lambda: -a[0],
                "select": lambda: a[1] if a[0] else a[2], "not": lambda: not a[0],
                "and": lambda: a[0] & a[1], "or": lambda: a[0] or a[1],
                "lt": lambda: a[0] < a[1], "le": lambda: a[0] <= a[1], "gt": lambda: a[0] > a[1],
                "ge": lambda: a[0] >= a[1], "eq": lambda: a[0] == a[1],
                "ne": lambda: a[0] != a[1], "shr": lambda: a[0] >> a[1],
                "shl": lambda: a[0] << a[1],
            }[op]()  # fmt: skip
        case _:
            raise AssertionError(expr)


def apply(op: str, *args: Expr | int) -> Expr:
    return scalar.apply(op, *(integer(a) if isinstance(a, int) else a for a in args))


leaves = st.one_of(st.sampled_from(VARIABLES), st.integers(-20, 40).map(integer))


def _integers(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pair = st.tuples(inner, inner)
    positive = st.integers(1, 24)
    return st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "min", "max"]), pair).map(
            lambda t: apply(t[0], *t[1])
        ),
        st.tuples(st.sampled_from(["floordiv", "mod"]), inner, positive).map(
            lambda t: apply(t[0], t[1], t[2])
        ),
        st.tuples(st.sampled_from(["shr", "shl"]), inner, st.integers(0, 4)).map(
            lambda t: apply(t[0], t[1], t[2])
        ),
        st.tuples(inner, st.integers(0, 33)).map(lambda t: apply("and", t[0], t[1])),
        st.tuples(st.sampled_from(["lt", "le", "eq", "ne", "gt", "ge"]), pair, pair).map(
            lambda t: apply("select", apply(t[0], *t[1]), *t[2])
        ),
    )


integers = st.recursive(leaves, _integers, max_leaves=12)
conditions = st.tuples(
    st.sampled_from(["lt", "le", "eq", "ne", "gt", "ge"]), integers, integers
).map(lambda t: apply(*t))
points = st.fixed_dictionaries(
    {I0: st.integers(0, 12), J: st.integers(0, 15), N: st.integers(0, 50)}
)


@settings(max_examples=400, deadline=None)
@given(expr=st.one_of(integers, conditions), values=points)
def test_simplification_keeps_the_value(expr: Expr, values: dict[Var, int]) -> None:
    found = index.simplify(expr, RANGES)
    assert evaluate(found, values) == evaluate(expr, values)
    assert index.simplify(found, RANGES).dtype is expr.dtype


@settings(max_examples=200, deadline=None)
@given(expr=integers, values=points)
def test_bounds_hold(expr: Expr, values: dict[Var, int]) -> None:
    low, high = index.bounds(expr, RANGES)
    value = evaluate(expr, values)
    assert (low is None or low <= value) and (high is None or value <= high)


@settings(max_examples=200, deadline=None)
@given(expr=integers, values=points)
def test_a_coefficient_is_the_difference_between_neighbours(
    expr: Expr, values: dict[Var, int]
) -> None:
    step = index.coefficient(expr, I0, RANGES)
    if step is None or values[I0] == 12:
        return
    after = {**values, I0: values[I0] + 1}
    difference = evaluate(expr, after) - evaluate(expr, values)
    assert difference == (step if isinstance(step, int) else evaluate(step, values))


ROW = apply("add", apply("mul", I0, 16), J)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (apply("floordiv", ROW, 16), I0),
        (apply("mod", ROW, 16), J),
        (apply("floordiv", ROW, 32), apply("floordiv", I0, 2)),
        (apply("min", J, 15), J),
        (apply("lt", J, 16), scalar.TRUE),
        (apply("ge", J, 16), scalar.FALSE),
        (apply("sub", ROW, ROW), integer(0)),
        (apply("add", apply("mul", apply("floordiv", N, 7), 7), apply("mod", N, 7)), N),
        (
            apply(
                "add",
                apply("mul", apply("floordiv", N, 20), 4),
                apply("mod", apply("floordiv", N, 5), 4),
            ),
            apply("floordiv", N, 5),
        ),
        (apply("select", apply("lt", J, 99), I0, J), I0),
        (apply("shr", ROW, 4), I0),
        (apply("and", ROW, 15), J),
        (apply("lt", apply("mul", N, 8), 17), apply("lt", N, 3)),
    ],
)
def test_simplifies(expr: Expr, expected: Expr) -> None:
    assert index.simplify(expr, RANGES) == expected


def test_sizes_divide_evenly() -> None:
    ranges = {J: (0, apply("sub", N, 1))}
    row = apply("add", apply("mul", I0, N), J)
    assert index.simplify(apply("floordiv", row, N), ranges) == I0
    assert index.simplify(apply("mod", row, N), ranges) == J
    assert index.holds(apply("lt", J, N), ranges) is True
    assert index.holds(apply("lt", I0, N), ranges) is None
    assert index.coefficient(row, I0) == N
    assert index.coefficient(apply("floordiv", row, 3), J) is None


def test_equal_polynomials_are_equal_expressions() -> None:
    left = apply("mul", apply("add", I0, 1), apply("add", J, N))
    right = apply("add", apply("mul", I0, apply("add", N, J)), apply("add", J, N))
    assert index.simplify(left) == index.simplify(right)


def test_range_of_a_loop() -> None:
    assert index.loop_range(integer(0), integer(10)) == (0, 9)
    assert index.loop_range(integer(0), integer(10), step=4) == (0, 8)
    assert index.loop_range(integer(0), N) == (0, apply("sub", N, 1))


def test_arithmetic_on_data_is_left_as_it_stands() -> None:
    data = scalar.Read(0, dtypes.int64)
    for expr in (
        apply("gt", apply("add", data, 1), data),
        apply("floordiv", apply("mul", data, 2), 2),
        apply("max", apply("add", data, 1), data),
        apply("gt", apply("neg", data), 0),
        apply("and", data, 2**63 - 1),
        apply("shr", apply("shl", data, 1), 1),
        apply("gt", apply("add", I0, 2**63 - 1), I0),
    ):
        found = index.simplify(expr, RANGES)
        assert {e.op for e in scalar.walk(found) if isinstance(e, scalar.Apply)} >= {
            e.op for e in scalar.walk(expr) if isinstance(e, scalar.Apply)
        } - {"gt"}, found
