"""Each construct of the loop grammar as machine code, against the loop interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.ir import dtypes, scalar
from smelt.ir.dim import symbol
from smelt.ir.dtypes import DType
from smelt.ir.dtypes import Kind as NumberKind
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    Barrier,
    Branch,
    Buffer,
    Check,
    Comment,
    For,
    If,
    Kernel,
    Kind,
    Launch,
    Let,
    Place,
    Program,
    Space,
    Stmt,
    Store,
    While,
    row_major_buffer,
)
from smelt.ir.loop.interpreter import run_program
from smelt.ir.loop.verify import verify_program
from smelt.ir.scalar import Const, Expr, Load, Var, apply, integer
from smelt.runtime.executable import DataError

from tests.codegen.llvm import native
from tests.codegen.llvm.native import buffer

F32, F64, I64, I32 = dtypes.float32, dtypes.float64, dtypes.int64, dtypes.int32
i, j, k, l, m = (Var(n) for n in "ijklm")  # noqa: E741


def plus(a: Expr, b: Expr | int) -> Expr:
    return apply("add", a, integer(b) if isinstance(b, int) else b)


def times(a: Expr, b: int) -> Expr:
    return apply("mul", a, integer(b))


def below(a: Expr, b: Expr | int) -> Expr:
    return apply("lt", a, integer(b) if isinstance(b, int) else b)


def loop(var: Var, stop: Expr | int, kind: Kind, *body: Stmt, start: int = 0, step: int = 1) -> For:
    end = integer(stop) if isinstance(stop, int) else stop
    return For(var, integer(start), end, kind, body, step)


def kernel(name: str, params: Sequence[Buffer], written: Sequence[Buffer], *body: Stmt,
           sizes: tuple[str, ...] = (), precise: bool = False) -> Kernel:  # fmt: skip
    names = frozenset(b.name for b in written)
    return Kernel(name, tuple(params), body, sizes, names, precise)


def check(program: Program | Kernel, *inputs: Any, exact: bool = True,
          sizes: dict[str, int] | None = None) -> tuple[Any, ...]:  # fmt: skip
    """Compare machine code at every instruction set with the loop interpreter."""
    whole = native.program_of(program) if isinstance(program, Kernel) else program
    verify_program(whole)
    expected = run_program(whole, [np.copy(a, order="K") for a in inputs], sizes)
    for level, target in native.targets().items():
        found = native.run(whole, [np.copy(a, order="K") for a in inputs], target)
        for got, want in zip(found, expected):
            if exact:
                np.testing.assert_array_equal(got, want, err_msg=level)
            else:
                close = 4e-3 if got.dtype == np.float16 else 1e-5
                np.testing.assert_allclose(got, want, rtol=close, atol=1e-5, err_msg=level)
    return expected


def numbers(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


X, Y = buffer("x", F32, 8, 40), buffer("y", F32, 8, 40)
ONE = Const(1.0, F32)


@pytest.mark.parametrize("kind", [Kind.SERIAL, Kind.PARALLEL, Kind.UNROLL, Kind.BLOCK])
@pytest.mark.parametrize(("start", "stop", "step"), [(0, 8, 1), (1, 8, 3), (5, 5, 1), (7, 8, 4)])
def test_loops_over_constant_bounds(kind: Kind, start: int, stop: int, step: int) -> None:
    body = Store(Y, (i, j), apply("add", Load(X, (i, j)), ONE))
    zero = loop(k, 8, Kind.SERIAL, loop(l, 40, Kind.SERIAL, Store(Y, (k, l), ONE)))
    nest = loop(i, stop, kind, loop(j, 40, Kind.SERIAL, body), start=start, step=step)
    check(kernel("loops", (X, Y), (Y,), zero, nest), numbers(8, 40))


def test_parallel_loops_collapse_over_lets_and_symbolic_bounds() -> None:
    n = symbol("n")
    x, y = buffer("x", F32, n, 6, 5), buffer("y", F32, n, 6, 5)
    row = Var("row")
    inner = loop(k, 5, Kind.PARALLEL, Store(y, (i, row, k), Load(x, (i, row, k))), start=1, step=2)
    nest = loop(i, Var("n"), Kind.PARALLEL,
                loop(j, 3, Kind.PARALLEL, Let(row, times(j, 2), (inner,))))  # fmt: skip
    fill = loop(l, Var("n"), Kind.SERIAL, loop(m, 6, Kind.SERIAL, *(
        Store(y, (l, m, integer(c)), ONE) for c in range(5))))  # fmt: skip
    check(kernel("collapse", (x, y), (y,), fill, nest, sizes=("n",)), numbers(4, 6, 5),
          sizes={"n": 4})  # fmt: skip


def test_parallel_loop_whose_inner_bound_varies() -> None:
    fill = loop(k, 8, Kind.SERIAL, loop(l, 40, Kind.SERIAL, Store(Y, (k, l), ONE)))
    inner = loop(j, times(i, 3), Kind.PARALLEL, Store(Y, (i, j), Load(X, (i, j))))
    check(kernel("triangle", (X, Y), (Y,), fill, loop(i, 8, Kind.PARALLEL, inner)), numbers(8, 40))


@pytest.mark.parametrize("lanes", [2, 7, 8, 16, 32])
def test_vector_tail_is_masked(lanes: int) -> None:
    column = plus(j, l)
    yes = Store(Y, (i, column), apply("add", Load(X, (i, column)), ONE))
    tail = loop(l, lanes, Kind.VECTOR, If(below(column, 40), (yes,)))
    nest = loop(i, 8, Kind.SERIAL, loop(j, 40, Kind.SERIAL, tail, step=lanes))
    check(kernel("tail", (X, Y), (Y,), nest), numbers(8, 40))


def test_vector_if_else_and_uniform_conditions() -> None:
    value = Load(X, (i, l))
    positive = apply("gt", value, Const(0.0, F32))
    choose = If(positive, (Store(Y, (i, l), value),),
                (If(below(i, 4), (Store(Y, (i, l), apply("neg", value)),),
                    (Store(Y, (i, l), ONE),)),))  # fmt: skip
    vector = loop(l, 40, Kind.VECTOR, choose)
    check(kernel("choose", (X, Y), (Y,), loop(i, 8, Kind.SERIAL, vector)), numbers(8, 40))


@pytest.mark.parametrize("dtype", [F32, F64, I32, dtypes.int8, dtypes.bool_, dtypes.float16])
def test_gather_scatter_reverse_and_stride(dtype: DType) -> None:
    x, y = buffer("x", dtype, 64), buffer("y", dtype, 4, 64)
    at = buffer("at", I64, 64)
    backwards = apply("sub", integer(63), plus(i, l))
    stores = [
        Store(y, (integer(0), plus(i, l)), Load(x, (Load(at, (plus(i, l),)),))),
        Store(y, (integer(1), Load(at, (plus(i, l),))), Load(x, (plus(i, l),))),
        Store(y, (integer(2), plus(i, l)), Load(x, (backwards,))),
        Store(y, (integer(3), backwards), Load(x, (plus(i, l),))),
    ]
    masked = [If(below(plus(i, l), 64), (s,)) for s in stores]
    for name, body in (("whole", stores), ("masked", masked)):
        nest = loop(i, 64, Kind.SERIAL, loop(l, 16, Kind.VECTOR, *body), step=16)
        rng = np.random.default_rng(1)
        data = rng.integers(-9, 9, 64) % (2 if dtype.kind is NumberKind.BOOL else 99)
        check(kernel(name, (x, at, y), (y,), nest), data.astype(dtype.numpy),
              rng.permutation(64).astype(np.int64))  # fmt: skip


def test_strided_rows_and_splats() -> None:
    x, y = buffer("x", F32, 32, 8), buffer("y", F32, 8, 32)
    body = apply("add", Load(x, (l, i)), Load(x, (i, integer(3))))
    nest = loop(i, 8, Kind.SERIAL, loop(l, 32, Kind.VECTOR, Store(y, (i, l), body)))
    check(kernel("transpose", (x, y), (y,), nest), numbers(32, 8))


def test_masked_lanes_never_touch_memory() -> None:
    # Element 1000 of x does not exist; no lane is active when it would be read.
    x, y = buffer("x", F32, 16), buffer("y", F32, 16)
    far = Load(x, (times(i, 1000),))
    body = If(below(plus(l, times(i, 16)), 16), (Store(y, (l,), far),))
    nest = loop(i, 200, Kind.SERIAL, loop(l, 16, Kind.VECTOR, body))
    check(kernel("far", (x, y), (y,), nest), numbers(16))


@pytest.mark.parametrize("extent", [1, 10, 17])
def test_masked_lanes_past_the_end_of_a_local_row(extent: int) -> None:
    # A row shorter than a vector register: inactive lanes lie past it, on the stack.
    row = row_major_buffer("row", F32, (extent,), Space.LOCAL)
    x, y = buffer("x", F32, 8, extent), buffer("y", F32, 8, extent)
    inside = below(l, extent)
    fill = loop(l, 32, Kind.VECTOR, If(inside, (Store(row, (l,), Load(x, (i, l))),)))
    total = Accumulate(row, (integer(0),), "add", Load(row, (integer(extent - 1),)))
    drain = loop(m, 32, Kind.VECTOR, If(below(m, extent), (Store(y, (i, m), Load(row, (m,))),)))
    nest = loop(i, 8, Kind.SERIAL, Alloc(row, (fill, total, drain)))
    check(kernel("row", (x, y), (y,), nest), numbers(8, extent))


def test_index_arithmetic_on_lanes() -> None:
    y = buffer("y", I64, 9, 64)
    at = apply("sub", plus(times(i, 7), times(l, 3)), integer(100))
    down = apply("sub", times(i, 5), times(l, 2))
    exprs = [
        apply("floordiv", at, integer(12)), apply("mod", at, integer(12)),
        apply("floordiv", down, integer(7)), apply("mod", down, integer(7)),
        apply("floordiv", times(at, 4), integer(4)), apply("mod", times(at, 4), integer(4)),
        apply("cast", apply("le", at, integer(-80)), dtype=I64),
        apply("cast", apply("gt", integer(-80), down), dtype=I64),
        apply("mul", at, down),
    ]  # fmt: skip
    body = [Store(y, (integer(n), l), e) for n, e in enumerate(exprs)]
    nest = loop(i, 40, Kind.SERIAL, loop(l, 64, Kind.VECTOR, *body), step=3)
    check(kernel("lanes", (y,), (y,), nest))


REDUCTIONS = [
    (op, dtype)
    for op in ("add", "mul", "max", "min", "and", "or")
    for dtype in (F32, F64, I32, I64, dtypes.uint8, dtypes.bool_, dtypes.float16)
    if dtype.kind in scalar.SCALAR_OPS[op].kinds
]


@pytest.mark.parametrize("masked", [False, True])
def test_lanes_that_share_an_element_are_combined(masked: bool) -> None:
    kernels, inputs, params, outputs, steps = [], [], [], [], []
    for number, (op, dtype) in enumerate(REDUCTIONS):
        x, y = buffer(f"x{number}", dtype, 4, 24), buffer(f"y{number}", dtype, 4)
        one = Const(scalar.as_python(1, dtype), dtype)
        body: Stmt = Accumulate(y, (i,), op, Load(x, (i, l)))
        if masked:
            body = If(below(plus(l, i), 20), (body,))
        vector = loop(l, 24, Kind.VECTOR, body)
        name = f"{op}_{dtype.name}"
        kernels.append(
            kernel(name, (x, y), (y,), loop(i, 4, Kind.SERIAL, Store(y, (i,), one), vector))
        )
        params.append(x)
        outputs.append(y)
        steps.append(Launch(name, (Place("input", number), Place("output", number))))
        rng = np.random.default_rng(number)
        inputs.append((rng.integers(0, 5, (4, 24)) * (1 if op == "add" else 0.5) + 0.5)
                      .astype(dtype.numpy))  # fmt: skip
    program = Program("reductions", tuple(kernels), tuple(steps), tuple(params), tuple(outputs))
    with np.errstate(all="ignore"):
        check(program, *inputs, exact=False)


def test_reductions_pass_on_nan() -> None:
    for op in ("max", "min", "add"):
        x, y = buffer("x", F32, 16), buffer("y", F32, 1)
        body = loop(l, 16, Kind.VECTOR, Accumulate(y, (integer(0),), op, Load(x, (l,))))
        data = numbers(16)
        data[5] = np.nan
        assert np.isnan(
            check(kernel(op, (x, y), (y,), Store(y, (integer(0),), ONE), body), data)[0]
        )


def test_precise_reductions_keep_their_order() -> None:
    x, y = buffer("x", F32, 16), buffer("y", F32, 1)
    body = loop(l, 16, Kind.VECTOR, Accumulate(y, (integer(0),), "add", Load(x, (l,))))
    start = Store(y, (integer(0),), ONE)
    program = native.program_of(kernel("ordered", (x, y), (y,), start, body, precise=True))
    data = (numbers(16) * 10.0 ** np.arange(16)).astype(np.float32)
    total = np.float32(1)
    for value in data:
        total += value
    assert native.run(program, [data])[0][0] == total


def test_products_are_fused_unless_the_kernel_is_precise() -> None:
    x, y = buffer("x", F32, 32), buffer("y", F32, 32)
    square = apply("mul", Load(x, (plus(i, l),)), Load(x, (plus(i, l),)))
    body = loop(i, 32, Kind.SERIAL, loop(l, 16, Kind.VECTOR, Store(y, (plus(i, l),), ONE),
                Accumulate(y, (plus(i, l),), "add", square)), step=16)  # fmt: skip
    for precise in (True, False):
        built = kernel("fused", (x, y), (y,), body, precise=precise)
        assembly = emit_program(native.program_of(built), native.best()).assembly
        if native.best().has("fma"):
            assert ("vfmadd" in assembly) is not precise
        check(built, numbers(32), exact=precise)


def test_register_tile_stays_in_registers() -> None:
    a, b, c = buffer("a", F32, 64, 4), buffer("b", F32, 64, 16), buffer("c", F32, 4, 16)
    tile = row_major_buffer("tile", F32, (4, 16), Space.LOCAL)
    zero = Const(0.0, F32)
    clear = loop(i, 4, Kind.UNROLL, loop(l, 16, Kind.VECTOR, Store(tile, (i, l), zero)))
    product = apply("mul", Load(a, (k, j)), Load(b, (k, m)))
    add = loop(
        j, 4, Kind.UNROLL, loop(m, 16, Kind.VECTOR, Accumulate(tile, (j, m), "add", product))
    )
    row, lane = Var("row"), Var("lane")
    out = loop(row, 4, Kind.UNROLL, loop(lane, 16, Kind.VECTOR,
               Store(c, (row, lane), Load(tile, (row, lane)))))  # fmt: skip
    body = Alloc(tile, (clear, loop(k, 64, Kind.SERIAL, add), out))
    built = kernel("tile", (a, b, c), (c,), body)
    check(built, numbers(64, 4), numbers(64, 16), exact=False)
    target = native.best()
    assembly = emit_program(native.program_of(built), target).assembly
    if target.triple.startswith("x86_64"):
        assert native.vector_width_used(assembly) == min(target.vector_bits, 512)
        stores = [line for line in assembly.splitlines() if "vmovup" in line and ", (%rsp" in line]
        assert not stores, "accumulators were spilled"


@pytest.mark.parametrize("length", [20, 26, 100])
def test_the_tail_of_a_local_row_stays_inside(length: int) -> None:
    # Guards on both sides of the row keep what they hold.
    x, y = buffer("x", F32, length), buffer("y", F32, 3, length)
    before, row, after = (row_major_buffer(n, F32, (length,), Space.LOCAL) for n in "bra")
    fill = [loop(Var(f"f{n}"), length, Kind.SERIAL, Store(b, (Var(f"f{n}"),), Const(float(n), F32)))
            for n, b in enumerate((before, after))]  # fmt: skip
    tails = [
        loop(Var(f"t{start}"), 16, Kind.VECTOR, If(below(plus(Var(f"t{start}"), start), length), (
            Store(row, (plus(Var(f"t{start}"), start),),
                  Load(x, (plus(Var(f"t{start}"), start),))),)))
        for start in range(0, length, 16)
    ]  # fmt: skip
    out = [loop(Var(f"o{n}"), length, Kind.SERIAL, Store(y, (integer(n), Var(f"o{n}")),
                Load(b, (Var(f"o{n}"),)))) for n, b in enumerate((before, row, after))]  # fmt: skip
    body = Alloc(before, (Alloc(row, (Alloc(after, (*fill, *tails, *out)),)),))
    check(kernel("guarded", (x, y), (y,), body), numbers(length))


def test_scratch_memory_is_the_workers_own() -> None:
    x, y = buffer("x", F32, 64, 32), buffer("y", F32, 64, 32)
    first, second = (row_major_buffer(n, F32, (32,), Space.SCRATCH) for n in ("first", "second"))
    fill = loop(j, 32, Kind.SERIAL, Store(first, (j,), Load(x, (i, j))))
    turn = loop(k, 32, Kind.SERIAL,
                Store(second, (k,), Load(first, (apply("sub", integer(31), k),))))  # fmt: skip
    out = loop(l, 32, Kind.VECTOR, Store(y, (i, l), Load(second, (l,))))
    nest = loop(i, 64, Kind.PARALLEL, Alloc(first, (fill, Alloc(second, (turn, out)))))
    built = kernel("turned", (x, y), (y,), nest)
    check(built, numbers(64, 32))
    assert emit_program(native.program_of(built), native.best()).object.scratch_bytes == 256


def test_checks_report_the_lane_and_leave() -> None:
    x, at, y = buffer("x", F32, 10), buffer("at", I64, 32), buffer("y", F32, 32)
    index = Load(at, (plus(i, l),))
    good = apply("and", apply("ge", index, integer(0)), below(index, 10))
    body = (Check(good, 1, index, integer(10)), Store(y, (plus(i, l),), Load(x, (index,))))
    masked = (If(apply("ne", index, integer(-1)), body),)
    data = np.arange(32) % 10
    for lanes in (1, 16):
        for statements in (body, masked):
            vector = loop(l, lanes, Kind.VECTOR, *statements)
            nest = loop(i, 32, Kind.PARALLEL, vector, step=lanes)
            program = native.program_of(kernel("picked", (x, at, y), (y,), nest))
            verify_program(program)
            assert isinstance(native.run(program, [numbers(10), data]), tuple)
            wrong = data.copy()
            wrong[21] = 77
            assert native.run(program, [numbers(10), wrong]) == DataError(1, 77, 10)
            wrong[21] = -1
            found = native.run(program, [numbers(10), wrong])
            assert isinstance(found, tuple) is (statements is masked)


def test_an_error_ends_the_program_before_the_next_launch() -> None:
    x, y = buffer("x", I64, 1), buffer("y", I64, 1)
    first = kernel(
        "first", (x,), (), Check(below(Load(x, (integer(0),)), 5), 2, integer(9), integer(0))
    )
    second = kernel("second", (y,), (y,), Store(y, (integer(0),), integer(3)))
    program = Program(
        "two", (first, second),
        (Launch("first", (Place("input", 0),)), Launch("second", (Place("output", 0),))),
        (x,), (y,),
    )  # fmt: skip
    out = np.zeros(1, np.int64)
    assert native.run(program, [np.array([7])], outputs=[out]) == DataError(2, 9, 0)
    assert out[0] == 0
    check(program, np.array([4]))


def _flow() -> Program:
    """Return a program that counts n down in the arena while it adds up, then branches."""
    n, total, flag = (buffer(name, dtype, 1) for name, dtype in
                      (("n", I64), ("total", I64), ("flag", dtypes.bool_)))  # fmt: skip
    zero = (integer(0),)
    given = buffer("given", I64, 1)
    start = kernel("start", (given, n, total), (n, total), Comment("begin"),
                   Store(n, zero, Load(given, zero)),
                   Store(total, zero, integer(0)))  # fmt: skip
    test = kernel("test", (n, flag), (flag,),
                  Store(flag, zero, apply("gt", Load(n, zero), integer(0))))  # fmt: skip
    work = kernel("work", (n, total), (n, total),
                  Accumulate(total, zero, "add", Load(n, zero)),
                  Accumulate(n, zero, "add", integer(-1)))  # fmt: skip
    rest = apply("mod", Load(total, zero), integer(2))
    even = kernel("even", (total, flag), (flag,), Store(flag, zero, apply("eq", rest, integer(0))))
    out = buffer("out", I64, 1)
    yes = kernel("yes", (total, out), (out,), Store(out, zero, Load(total, zero)))
    no = kernel("no", (total, out), (out,), Store(out, zero, apply("neg", Load(total, zero))))
    arena = {
        name: Place("arena", offset) for name, offset in (("n", 0), ("total", 64), ("flag", 128))
    }
    return Program(
        "flow", (start, test, work, even, yes, no),
        (
            Launch("start", (Place("input", 0), arena["n"], arena["total"])),
            While((Launch("test", (arena["n"], arena["flag"])),), arena["flag"],
                  (Launch("work", (arena["n"], arena["total"])),)),
            Launch("even", (arena["total"], arena["flag"])),
            Branch(arena["flag"], (Launch("yes", (arena["total"], Place("output", 0))),),
                   (Launch("no", (arena["total"], Place("output", 0))),)),
        ),
        (given,), (out,), arena_bytes=192,
    )  # fmt: skip


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, -1), (4, 10), (5, -15)])
def test_branch_and_while(n: int, expected: int) -> None:
    assert check(_flow(), np.array([n]))[0][0] == expected


def test_threads_of_a_block_run_in_lockstep() -> None:
    # Each block reverses a row in shared memory, then sums prefixes up to the thread's number.
    x, y = buffer("x", F32, 6, 32), buffer("y", F32, 6, 32)
    shared = row_major_buffer("row", F32, (32,), Space.SHARED)
    own = row_major_buffer("own", F32, (1,), Space.LOCAL)
    put = Store(shared, (apply("sub", integer(31), j),), Load(x, (i, j)))
    total = loop(
        k, plus(j, 1), Kind.SERIAL, Accumulate(own, (integer(0),), "add", Load(shared, (k,)))
    )
    get = Alloc(own, (Store(own, (integer(0),), ONE), total,
                      Store(y, (i, j), Load(own, (integer(0),)))))  # fmt: skip
    thread = loop(j, 32, Kind.THREAD, put, Barrier(), get)
    built = kernel("block", (x, y), (y,), loop(i, 6, Kind.BLOCK, Alloc(shared, (thread,))))
    check(built, numbers(6, 32), exact=False)


def test_two_levels_of_threads() -> None:
    x, y = buffer("x", F32, 8, 8), buffer("y", F32, 8, 8)
    shared = row_major_buffer("tile", F32, (4, 4), Space.SHARED)
    row, column = plus(times(i, 4), k), plus(times(j, 4), l)
    put = Store(shared, (l, k), Load(x, (row, column)))
    get = If(below(k, l), (Store(y, (row, column), Load(shared, (k, l))),),
             (Store(y, (row, column), Load(x, (row, integer(0)))),))  # fmt: skip
    threads = loop(k, 4, Kind.THREAD, loop(l, 4, Kind.THREAD, put, Barrier(), get))
    blocks = loop(i, 2, Kind.BLOCK, loop(j, 2, Kind.BLOCK, Alloc(shared, (threads,))))
    check(kernel("tiles", (x, y), (y,), blocks), numbers(8, 8))


def test_strided_inputs_and_symbolic_strides() -> None:
    n = symbol("n")
    x = Buffer("x", F32, (n, 5), (1, n))
    y = buffer("y", F32, n, 5)
    nest = loop(
        i, Var("n"), Kind.PARALLEL, loop(j, 5, Kind.SERIAL, Store(y, (i, j), Load(x, (i, j))))
    )
    data = np.asfortranarray(numbers(7, 5))
    check(kernel("columns", (x, y), (y,), nest, sizes=("n",)), data, sizes={"n": 7})


def test_names_that_llvm_does_not_take() -> None:
    x, y = buffer("%0", F32, 4), buffer("y.1", F32, 4)
    body = loop(Var("scratch"), 4, Kind.SERIAL,
                Store(y, (Var("scratch"),), Load(x, (Var("scratch"),))))  # fmt: skip
    check(kernel("run", (x, y), (y,), body), numbers(4))


def test_equal_kernels_are_compiled_once() -> None:
    x, y, z = (buffer(n, F32, 8) for n in "xyz")

    def double(name: str, a: Buffer, b: Buffer) -> Kernel:
        body = loop(i, 8, Kind.PARALLEL, Store(b, (i,), apply("add", Load(a, (i,)), Load(a, (i,)))))
        return kernel(name, (a, b), (b,), body)

    arena = Place("arena", 0)
    steps = (
        Launch("first", (Place("input", 0), arena)),
        Launch("second", (arena, Place("output", 0))),
    )
    kernels = (double("first", x, y), double("second", x, y))
    program = Program("twice", kernels, steps, (x,), (z,), arena_bytes=64)
    check(program, numbers(8))
    text = emit_program(program, native.best()).llvm_ir
    assert text.count("call void @first(") == 2
    assert "@second" not in text


def test_every_construct_is_emitted_by_a_test() -> None:
    """Look for each statement, step and kind in this file: whatever is added must be tested."""
    import ast
    import typing
    from pathlib import Path

    from smelt.ir.loop import grammar

    used = {
        n.id for n in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(n, ast.Name)
    }
    used |= {
        f"{n.value.id}.{n.attr}" for n in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    }  # fmt: skip
    wanted = {c.__name__ for c in (*typing.get_args(grammar.Stmt), *typing.get_args(grammar.Step))}
    wanted |= {f"Kind.{kind.name}" for kind in Kind}
    wanted |= {f"Space.{space.name}" for space in Space if space is not Space.GLOBAL}
    assert wanted <= used


def test_the_same_program_gives_the_same_bytes() -> None:
    target = native.best()
    assert emit_program(_flow(), target).object == emit_program(_flow(), target).object
