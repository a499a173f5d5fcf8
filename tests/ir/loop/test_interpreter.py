"""What loop programs mean: strict memory, masks, orders, checks, steps."""

import numpy as np
import pytest
from smelt.ir import dim, dtypes, scalar
from smelt.ir.errors import IndexRangeError, IntegerDivisionError, InternalError
from smelt.ir.loop.builder import allocated, below, load, local, loop, plus, store
from smelt.ir.loop.grammar import (
    Accumulate,
    Barrier,
    Branch,
    Buffer,
    Check,
    If,
    Kernel,
    Kind,
    Launch,
    Let,
    Place,
    Program,
    Space,
    While,
    row_major_buffer,
)
from smelt.ir.loop.interpreter import run_kernel, run_program
from smelt.ir.scalar import Const, Var, integer
from smelt.ir.scalar_reference import evaluate

F32 = dtypes.float32
V, W = Var("i"), Var("j")


def run(body, *arrays: np.ndarray, names: str = "xyz") -> None:
    params = tuple(
        row_major_buffer(n, dtypes.of_numpy(a.dtype), a.shape) for n, a in zip(names, arrays)
    )
    run_kernel(Kernel("k", params, tuple(body(*params)), written=frozenset(names)), arrays)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("place", [-1, 4])
def test_loads_and_stores_stay_inside(place: int) -> None:
    with pytest.raises(InternalError, match="x has no element at"):
        run(lambda x, y: [store(y, [0], load(x, place))], floats(1, 2, 3, 4), floats(0))
    with pytest.raises(InternalError, match="y has no element at"):
        run(lambda x, y: [store(y, [place], load(x, 0))], floats(1), floats(0, 0, 0, 0))


def test_what_is_masked_off_is_not_evaluated() -> None:
    x, y = floats(1, 2), floats(0, 0, 0, 0)
    run(
        lambda x, y: [
            loop(V, 4, [If(below(V, 2), (store(y, [V], load(x, V)),))], Kind.VECTOR)
        ],
        x, y,
    )  # fmt: skip
    np.testing.assert_array_equal(y, [1, 2, 0, 0])


def test_both_arms_of_a_select_are_evaluated() -> None:
    chosen = lambda x: scalar.select(below(V, 2), load(x, V), Const(0.0, F32))  # noqa: E731
    with pytest.raises(InternalError, match="no element"):
        run(lambda x, y: [loop(V, 4, [store(y, [V], chosen(x))])], floats(1, 2), floats(0, 0, 0, 0))


def test_fresh_memory_is_poison() -> None:
    y = floats(0)
    acc = local("acc", F32, ())
    run(lambda y: allocated([acc], [store(y, [0], load(acc))]), y)
    assert np.isnan(y[0])


def test_iterations_that_claim_independence_run_backwards() -> None:
    y = floats(0, 0, 0)
    acc = local("acc", F32, ())
    body = [
        Accumulate(acc, (), "add", Const(1.0, F32)),
    ]
    run(
        lambda y: allocated([acc], [
            store(acc, [], Const(0.0, F32)),
            loop(V, 3, [*body, store(y, [V], load(acc))], Kind.VECTOR),
        ]),
        y,
    )  # fmt: skip
    np.testing.assert_array_equal(y, [3, 2, 1])


def test_half_types_round_each_operation_once() -> None:
    x, y = np.array([1.0, 2.0**-9], dtypes.bfloat16.numpy), np.zeros(1, dtypes.bfloat16.numpy)
    value = lambda x: scalar.apply("add", load(x, 0), load(x, 1))  # noqa: E731
    run(lambda x, y: [store(y, [0], value(x))], x, y)
    assert y[0] == evaluate("add", x[0], x[1])


def test_integers_from_data_wrap() -> None:
    x, y = np.array([2**63 - 1], np.int64), np.zeros(1, np.int64)
    value = lambda x: scalar.apply("mul", plus(load(x, 0), 1), integer(3))  # noqa: E731
    run(lambda x, y: [store(y, [0], value(x))], x, y)
    assert y[0] == -(2**63)


@pytest.mark.parametrize(
    ("code", "error"), [(1, IndexRangeError), (2, IntegerDivisionError), (3, ValueError)]
)
def test_a_failed_check_raises_the_error_of_its_code(code: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(lambda y: [Check(below(5, 4), code, integer(5), integer(4))], floats(0))


def test_the_error_of_an_index_shows_it() -> None:
    with pytest.raises(IndexRangeError, match=r"index 5 is out of bounds .* size 4"):
        run(lambda y: [Check(below(5, 4), 1, integer(5), integer(4))], floats(0))


def test_division_by_zero_breaks_the_contract() -> None:
    x, y = np.zeros(1, np.int64), np.zeros(1, np.int64)
    value = lambda x: scalar.apply("floordiv", integer(1), load(x, 0))  # noqa: E731
    with pytest.raises(InternalError, match="zero"):
        run(lambda x, y: [store(y, [0], value(x))], x, y)


def test_barriers_keep_threads_in_step() -> None:
    x, y = floats(1, 2, 3, 4), floats(0, 0, 0, 0)
    tile = Buffer("tile", F32, (4,), (1,), Space.SHARED)
    run(
        lambda x, y: [
            loop(V, 1, allocated([tile], [
                loop(W, 4, [
                    store(tile, [W], load(x, W)),
                    Barrier(),
                    store(y, [W], load(tile, scalar.apply("sub", integer(3), W))),
                ], Kind.THREAD)
            ]), Kind.BLOCK)
        ],
        x, y,
    )  # fmt: skip
    np.testing.assert_array_equal(y, [4, 3, 2, 1])


def test_a_barrier_that_some_threads_miss() -> None:
    body = [If(below(W, 2), (Barrier(),))]
    with pytest.raises(InternalError, match="never reach"):
        run(lambda y: [loop(V, 1, [loop(W, 4, body, Kind.THREAD)], Kind.BLOCK)], floats(0))


def doubling() -> Kernel:
    x, flag = row_major_buffer("x", F32, (1,)), row_major_buffer("flag", dtypes.bool_, ())
    twice = Var("twice", F32)
    body = Let(
        twice,
        scalar.apply("add", load(x, 0), load(x, 0)),
        (store(x, [0], twice), store(flag, [], scalar.apply("lt", twice, Const(100.0, F32)))),
    )
    return Kernel("double", (x, flag), (body,), written=frozenset({"x", "flag"}))


def copying() -> Kernel:
    x, y = row_major_buffer("x", F32, (1,)), row_major_buffer("y", F32, (1,))
    return Kernel("copy", (x, y), (store(y, [0], load(x, 0)),), written=frozenset({"y"}))


def test_steps_run_in_order_and_loops_end() -> None:
    x, y = row_major_buffer("x", F32, (1,)), row_major_buffer("y", F32, (1,))
    state, flag = Place("arena", 0), Place("arena", 64)
    program = Program(
        "grow", (doubling(), copying()),
        (
            Launch("copy", (Place("input", 0), state)),
            While((Launch("double", (state, flag)),), flag, ()),
            Branch(flag, (), (Launch("copy", (state, Place("output", 0))),)),
        ),
        (x,), (y,), arena_bytes=128,
    )  # fmt: skip
    (out,) = run_program(program, [floats(3)])
    assert out[0] == 192


def test_strided_inputs_are_read_in_place() -> None:
    n = dim.symbol("n")
    x, y = Buffer("x", F32, (n, 2), (1, n)), row_major_buffer("y", F32, (n, 2))
    copy = Kernel(
        "copy", (x, y), (loop(V, n, [loop(W, 2, [store(y, [V, W], load(x, V, W))])]),),
        ("n",), frozenset({"y"}),
    )  # fmt: skip
    steps = (Launch("copy", (Place("input", 0), Place("output", 0))),)
    program = Program("copy", (copy,), steps, (x,), (y,), sizes=("n",))
    data = np.arange(6, dtype=np.float32).reshape(2, 3).T
    (out,) = run_program(program, [data], {"n": 3})
    np.testing.assert_array_equal(out, data)
    with pytest.raises(InternalError, match="strides"):
        run_program(program, [np.ascontiguousarray(data)], {"n": 3})


def test_parameters_may_not_overlap() -> None:
    place = Place("arena", 0)
    program = Program("p", (copying(),), (Launch("copy", (place, place)),), (), (), arena_bytes=64)
    with pytest.raises(InternalError, match="overlap"):
        run_program(program, [])


def test_a_launch_stays_inside_the_arena() -> None:
    places = (Place("arena", 0), Place("arena", 64))
    program = Program("p", (copying(),), (Launch("copy", places),), (), (), arena_bytes=64)
    with pytest.raises(InternalError, match="reaches byte 68"):
        run_program(program, [])
