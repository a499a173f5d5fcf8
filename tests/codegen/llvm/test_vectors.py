"""Vector loops as machine code: masks, gathers, reductions over lanes, registers."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.ir import dtypes, scalar
from smelt.ir.dtypes import DType
from smelt.ir.dtypes import Kind as NumberKind
from smelt.ir.loop.grammar import (
    Accumulate,
    Alloc,
    If,
    Kind,
    Launch,
    Place,
    Program,
    Space,
    Stmt,
    Store,
    row_major_buffer,
)
from smelt.ir.scalar import Const, Load, Var, apply, integer

from tests.codegen.llvm import native
from tests.codegen.llvm.building import (
    F32,
    F64,
    I32,
    I64,
    ONE,
    X,
    Y,
    below,
    check,
    i,
    j,
    k,
    kernel,
    l,
    loop,
    m,
    numbers,
    plus,
    times,
)
from tests.codegen.llvm.native import buffer


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
