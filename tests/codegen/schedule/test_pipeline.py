"""Scheduled kernels compute what the serial ones do, on the loop interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.codegen.target import Target
from smelt.ir import dtypes, scalar
from smelt.ir.loop.builder import (
    allocated,
    for_nest,
    load,
    local,
    loop,
    plus,
    scratch,
    store,
    times,
)
from smelt.ir.loop.grammar import (
    Accumulate,
    Buffer,
    For,
    Kernel,
    Kind,
    Let,
    row_major_buffer,
    walk,
)
from smelt.ir.loop.interpreter import run_kernel, span
from smelt.ir.loop.parser import parse_kernel
from smelt.ir.loop.printer import print_kernel
from smelt.ir.loop.verify import verify_kernel
from smelt.ir.scalar import Const, Var

F32 = dtypes.float32
NARROW = Target("x86_64-unknown-linux-gnu", "x86-64", "+sse2", 128, 16, threads=2)
P, J, R = Var("i"), Var("j"), Var("r")
ZERO = Const(0.0, F32)


def kinds(kernel: Kernel) -> set[Kind]:
    return {s.kind for s in walk(kernel.body) if isinstance(s, For)}


def flat(name: str, count: int) -> Buffer:
    return row_major_buffer(name, F32, (count,))


def check(kernel: Kernel, target: Target = NARROW, sizes: dict[str, int] | None = None) -> Kernel:
    """Compare a kernel with its schedule on random data; return the schedule."""
    verify_kernel(kernel)
    scheduled = schedule_kernel(kernel, target)
    verify_kernel(scheduled)
    text = print_kernel(scheduled)
    assert print_kernel(parse_kernel(text)) == text
    rng = np.random.default_rng(0)
    arrays = []
    for buffer in kernel.params:
        flat_array = rng.standard_normal(span(buffer, sizes or {})).astype(buffer.dtype.numpy)
        shape = [e if isinstance(e, int) else scalar.dims.evaluate(e, sizes) for e in buffer.shape]
        arrays.append(flat_array.reshape(shape))
    expected = [a.copy() for a in arrays]
    run_kernel(kernel, expected, sizes)
    run_kernel(scheduled, arrays, sizes)
    for want, got in zip(expected, arrays):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    return scheduled


def written(name: str, params: tuple[Buffer, ...], body: tuple, **options) -> Kernel:
    outputs = frozenset(b.name for b in params if b.name.startswith("y"))
    return Kernel(name, params, body, written=outputs, **options)


extents = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 70])


@settings(max_examples=30, deadline=None)
@given(n=extents, m=extents)
def test_elementwise_nest(n: int, m: int) -> None:
    x, y = flat("x", n * m), flat("y", n * m)
    place = plus(times(P, m), J)
    value = scalar.apply("add", load(x, place), Const(1.0, F32))
    check(written("add", (x, y), for_nest([(P, n), (J, m)], [store(y, [place], value)])))


def test_contiguous_loops_become_one_vector_loop_given_to_workers() -> None:
    x, y = flat("x", 400 * 300), flat("y", 400 * 300)
    place = plus(times(P, 300), J)
    value = scalar.apply("add", load(x, place), Const(1.0, F32))
    kernel = written("add", (x, y), for_nest([(P, 400), (J, 300)], [store(y, [place], value)]))
    scheduled = schedule_kernel(kernel, NARROW)
    assert print_kernel(scheduled).splitlines()[1:] == [
        "    for j_2 in parallel(0, 30000):",
        "        for l in vector(0, 4):",
        "            y[j_2 * 4 + l] = x[j_2 * 4 + l] + 1.0",
    ]


@settings(max_examples=30, deadline=None)
@given(n=extents, m=extents)
def test_transpose(n: int, m: int) -> None:
    x, y = flat("x", n * m), flat("y", n * m)
    body = [store(y, [plus(times(J, n), P)], load(x, plus(times(P, m), J)))]
    check(written("transpose", (x, y), for_nest([(P, n), (J, m)], body)))


@settings(max_examples=30, deadline=None)
@given(n=extents, m=extents)
def test_broadcast_row(n: int, m: int) -> None:
    x, b, y = flat("x", n * m), flat("b", m), flat("y", n * m)
    place = plus(times(P, m), J)
    value = scalar.apply("add", load(x, place), load(b, J))
    check(written("bias", (x, b, y), for_nest([(P, n), (J, m)], [store(y, [place], value)])))


@settings(max_examples=40, deadline=None)
@given(n=extents, m=extents)
def test_row_sums(n: int, m: int) -> None:
    x, y = flat("x", n * m), flat("y", n)
    acc = local("acc", F32, ())
    add = Accumulate(acc, (), "add", load(x, plus(times(P, m), J)))
    row = allocated([acc], [store(acc, [], ZERO), loop(J, m, [add]), store(y, [P], load(acc))])
    check(written("rows", (x, y), (loop(P, n, row),)))


@settings(max_examples=40, deadline=None)
@given(n=extents, m=extents)
def test_column_sums_go_across_the_lanes(n: int, m: int) -> None:
    x, y = flat("x", n * m), flat("y", m)
    acc = local("acc", F32, ())
    add = Accumulate(acc, (), "add", load(x, plus(times(R, m), J)))
    column = allocated([acc], [store(acc, [], ZERO), loop(R, n, [add]), store(y, [J], load(acc))])
    scheduled = check(written("columns", (x, y), (loop(J, m, column),)))
    if n > 4 and m >= 16:
        assert Kind.VECTOR in kinds(scheduled)


@pytest.mark.parametrize("count", [1, 2047, 2048, 9000])
@pytest.mark.parametrize("op", ["add", "max"])
def test_long_reduction(count: int, op: str) -> None:
    x, y = flat("x", count), flat("y", 1)
    acc = local("acc", F32, ())
    add = Accumulate(acc, (), op, load(x, R))
    body = allocated([acc], [store(acc, [], ZERO), loop(R, count, [add]), store(y, [0], load(acc))])
    check(written("total", (x, y), body))


def test_long_sums_are_accurate() -> None:
    count = 1 << 17
    x, y = flat("x", count), flat("y", 1)
    acc = local("acc", F32, ())
    add = Accumulate(acc, (), "add", load(x, R))
    body = allocated([acc], [store(acc, [], ZERO), loop(R, count, [add]), store(y, [0], load(acc))])
    scheduled = schedule_kernel(written("total", (x, y), body), NARROW)
    data, out = np.full(count, 0.1, np.float32), np.zeros(1, np.float32)
    run_kernel(scheduled, [data, out])
    exact = float(np.sum(data.astype(np.float64)))
    assert abs(out[0] - exact) < exact * 1e-5


@settings(max_examples=20, deadline=None)
@given(n=st.sampled_from([1, 3, 600, 1100]), m=st.sampled_from([1, 4, 9]))
def test_sums_into_a_row_are_cut_into_blocks(n: int, m: int) -> None:
    x, y = flat("x", n * m), flat("y", m)
    acc = scratch("acc", F32, (m,))
    a, b = Var("a"), Var("b")
    add = Accumulate(acc, (J,), "add", load(x, plus(times(R, m), J)))
    body = allocated(
        [acc],
        [
            loop(a, m, [store(acc, [a], ZERO)]),
            *for_nest([(R, n), (J, m)], [add]),
            loop(b, m, [store(y, [b], load(acc, b))]),
        ],
    )
    check(written("row", (x, y), body))


@settings(max_examples=20, deadline=None)
@given(n=extents, m=extents)
def test_softmax_like_rows(n: int, m: int) -> None:
    x, y = flat("x", n * m), flat("y", n * m)
    top, total, peak = local("top", F32, ()), local("total", F32, ()), Var("peak", F32)
    j1, j2, j3 = Var("j1"), Var("j2"), Var("j3")

    def at(j):
        return load(x, plus(times(P, m), j))

    def shifted(j):
        return scalar.apply("exp", scalar.apply("sub", at(j), peak))

    row = allocated(
        [top],
        [
            store(top, [], Const(float("-inf"), F32)),
            loop(j1, m, [Accumulate(top, (), "max", at(j1))]),
            Let(
                peak,
                load(top),
                allocated(
                    [total],
                    [
                        store(total, [], ZERO),
                        loop(j2, m, [Accumulate(total, (), "add", shifted(j2))]),
                        loop(
                            j3,
                            m,
                            [
                                store(
                                    y,
                                    [plus(times(P, m), j3)],
                                    scalar.apply("div", shifted(j3), load(total)),
                                )
                            ],
                        ),
                    ],
                ),
            ),
        ],
    )
    check(written("softmax", (x, y), (loop(P, n, row),)))


def test_a_running_sum_stays_in_order() -> None:
    x, y = flat("x", 50), flat("y", 50)
    acc = local("acc", F32, ())
    body = [
        Accumulate(acc, (), "add", load(x, P)),
        store(y, [P], load(acc)),
    ]
    kernel = written("cumsum", (x, y), allocated([acc], [store(acc, [], ZERO), loop(P, 50, body)]))
    assert kinds(check(kernel)) == {Kind.SERIAL}


def test_precise_kernels_keep_the_order_of_sums() -> None:
    x, y = flat("x", 50), flat("y", 1)
    acc = local("acc", F32, ())
    body = allocated(
        [acc],
        [
            store(acc, [], ZERO),
            loop(P, 50, [Accumulate(acc, (), "add", load(x, P))]),
            store(y, [0], load(acc)),
        ],
    )
    assert kinds(check(written("total", (x, y), body, precise=True))) == {Kind.SERIAL}


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9, 65])
def test_symbolic_extents(n: int) -> None:
    size = scalar.dims.symbol("n")
    x, y = (row_major_buffer(name, F32, (size * 5,)) for name in ("x", "y"))
    place = plus(times(P, 5), J)
    body = for_nest([(P, size), (J, 5)], [store(y, [place], scalar.apply("neg", load(x, place)))])
    check(written("neg", (x, y), body, sizes=("n",)), sizes={"n": n})


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9, 2000])
def test_symbolic_reduction(n: int) -> None:
    size = scalar.dims.symbol("n")
    x, y = row_major_buffer("x", F32, (size,)), flat("y", 1)
    acc = local("acc", F32, ())
    add = Accumulate(acc, (), "add", load(x, R))
    body = allocated([acc], [store(acc, [], ZERO), loop(R, size, [add]), store(y, [0], load(acc))])
    check(written("total", (x, y), body, sizes=("n",)), sizes={"n": n})


@pytest.mark.parametrize("n", [1, 513, 1300])
def test_long_sums_around_other_loops_are_cut_into_blocks(n: int) -> None:
    x, y = flat("x", n * 6), flat("y", 6)
    acc, row = local("acc", F32, (6,)), Var("row", F32)
    k = Var("k")
    product = scalar.apply("mul", row, load(x, plus(times(R, 6), J)))
    inner = loop(J, 6, [Accumulate(acc, (J,), "add", product)])
    add = Let(row, load(x, times(R, 6)), (inner,))
    body = allocated(
        [acc],
        [
            loop(k, 6, [store(acc, [k], ZERO)]),
            loop(R, n, [add]),
            loop(P, 6, [store(y, [P], load(acc, P))]),
        ],
    )
    scheduled = check(written("row", (x, y), body))
    assert ("acc_level" in print_kernel(scheduled)) == (n > 512)


def test_short_outer_loops_are_shared_together() -> None:
    x, y = flat("x", 3 * 7 * 40 * 200), flat("y", 3 * 7 * 200)
    acc = local("acc", F32, ())
    k, row = Var("k"), plus(times(plus(times(P, 7), J), 200), R)
    place = plus(times(plus(times(plus(times(P, 7), J), 40), k), 200), R)
    column = allocated(
        [acc],
        [
            store(acc, [], ZERO),
            loop(k, 40, [Accumulate(acc, (), "add", scalar.apply("exp", load(x, place)))]),
            store(y, [row], load(acc)),
        ],
    )
    kernel = written("shared", (x, y), for_nest([(P, 3), (J, 7), (R, 200)], column))
    scheduled = schedule_kernel(kernel, NARROW)
    verify_kernel(scheduled)
    (outer,) = scheduled.body
    assert isinstance(outer, For)
    assert outer.kind is Kind.PARALLEL and outer.stop == scalar.integer(21)


def test_one_worker_needs_no_parallel_loops() -> None:
    x, y = flat("x", 1 << 20), flat("y", 1 << 20)
    body = (loop(P, 1 << 20, [store(y, [P], scalar.apply("exp", load(x, P)))]),)
    kernel = written("exp", (x, y), body)
    assert Kind.PARALLEL in kinds(schedule_kernel(kernel, NARROW))
    assert Kind.PARALLEL not in kinds(schedule_kernel(kernel, NARROW.with_threads(1)))


def test_small_kernels_stay_on_one_core() -> None:
    x, y = flat("x", 1000), flat("y", 1000)
    kernel = written(
        "neg", (x, y), (loop(P, 1000, [store(y, [P], scalar.apply("neg", load(x, P)))]),)
    )
    assert Kind.PARALLEL not in kinds(schedule_kernel(kernel, NARROW))


def test_scheduled_kernels_stay_as_they_are() -> None:
    x, y = flat("x", 64), flat("y", 64)
    body = (loop(P, 64, [store(y, [P], scalar.apply("neg", load(x, P)))]),)
    once = schedule_kernel(written("neg", (x, y), body), NARROW)
    assert schedule_kernel(once, NARROW).body == once.body


@pytest.mark.parametrize("width", [1, 3, 64])
def test_sums_straight_into_a_parameter_are_not_shared(width: int) -> None:
    count = 1 << 16
    x, y = flat("x", count * width), flat("y", width)
    place = plus(times(R, width), J)
    add = Accumulate(y, (J,), "add", scalar.apply("exp", load(x, place)))
    kernel = written("total", (x, y), for_nest([(R, count), (J, width)], [add]))
    scheduled = schedule_kernel(kernel, NARROW)
    verify_kernel(scheduled)
    for stmt in walk(scheduled.body):
        if isinstance(stmt, For) and stmt.kind is Kind.PARALLEL:
            assert stmt.stop == scalar.integer(width), "only columns are independent"
