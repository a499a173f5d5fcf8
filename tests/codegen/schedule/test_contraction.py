"""The template of contractions against NumPy, with blocks so small that every edge is met."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.codegen.schedule.contraction import contract
from smelt.codegen.schedule.product import Axis, Contraction
from smelt.codegen.schedule.tile_shape import TileShape, tile_shape
from smelt.codegen.target import Target
from smelt.ir import dim, dtypes, scalar
from smelt.ir.dtypes import DType
from smelt.ir.loop.builder import Names, load, plus, times
from smelt.ir.loop.grammar import Buffer, Kernel, Store, row_major_buffer
from smelt.ir.loop.interpreter import run_kernel
from smelt.ir.loop.parser import parse_kernel
from smelt.ir.loop.printer import print_kernel
from smelt.ir.loop.verify import verify_kernel
from smelt.ir.scalar import Const, Expr, Var

F32 = dtypes.float32
TARGET = Target("x86_64-unknown-linux-gnu", "x86-64", "+sse2", 128, 16, threads=2)
SMALL = TileShape(
    rows=3, vectors=2, lanes=4, depth=5, row_block=6, row_share=12, column_share=16, fold=5
)
DEEP = TileShape(
    rows=2, vectors=1, lanes=4, depth=64, row_block=4, row_share=8, column_share=8, fold=7
)
B, M, N, K = Var("b"), Var("m"), Var("n"), Var("k")


def axis(var: Var, size: int) -> tuple[Axis, ...]:
    return ((var, size),)


def run(
    contraction: Contraction,
    params: tuple[Buffer, ...],
    arrays: list[np.ndarray],
    shape: TileShape | None,
    sizes: dict[str, int] | None = None,
) -> None:
    names = Names({p.name for p in params} | {"b", "m", "n", "k"} | set(sizes or {}))
    body = contract(contraction, TARGET, names, shape).body
    kernel = Kernel("product", params, body, tuple(sizes or {}), frozenset({params[-1].name}))
    verify_kernel(kernel)
    text = print_kernel(kernel)
    assert print_kernel(parse_kernel(text)) == text
    run_kernel(kernel, arrays, sizes)


def laid_out(name: str, dtype: DType, shape: tuple[int, int, int], transposed: bool) -> Buffer:
    """Return a buffer of a stack of matrices, perhaps with columns next to each other."""
    _, rows, columns = shape
    strides = (rows * columns, 1, rows) if transposed else (rows * columns, columns, 1)
    return Buffer(name, dtype, shape, strides)


def matrices(
    batch: int,
    m: int,
    n: int,
    k: int,
    shape: TileShape | None,
    dtype: DType = F32,
    transposed: tuple[bool, bool, bool] = (False, False, False),
) -> None:
    a = laid_out("a", dtype, (batch, m, k), transposed[0])
    b = laid_out("b_", dtype, (batch, k, n), transposed[1])
    y = laid_out("y", F32, (batch, m, n), transposed[2])

    def epilogue(point: dict[Expr, Expr], value: Expr) -> tuple[Store, ...]:
        done = scalar.apply("max", value, Const(0.0, F32))
        return (Store(y, (point[B], point[M], point[N]), done),)

    contraction = Contraction(
        axis(B, batch), axis(M, m), axis(N, n), axis(K, k),
        load(a, B, M, K), load(b, B, K, N), F32, epilogue,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, m, k)).astype(dtype.numpy)
    w = rng.standard_normal((batch, k, n)).astype(dtype.numpy)
    out = np.full((batch, m, n), np.nan, np.float32)
    x, w, out = (
        np.ascontiguousarray(e.transpose(0, 2, 1)).transpose(0, 2, 1) if t else e
        for e, t in zip((x, w, out), transposed)
    )
    run(contraction, (a, b, y), [x, w, out], shape)
    expected = np.maximum(x.astype(np.float64) @ w.astype(np.float64), 0)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


edges = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 17])


@settings(max_examples=80, deadline=None)
@given(
    batch=st.sampled_from([0, 1, 2]),
    m=edges,
    n=edges,
    k=edges,
    deep=st.booleans(),
    transposed=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_all_edges_of_a_matrix_product(
    batch: int, m: int, n: int, k: int, deep: bool, transposed: tuple[bool, bool, bool]
) -> None:
    matrices(batch, m, n, k, DEEP if deep else SMALL, transposed=transposed)


def test_blocks_chosen_for_the_machine() -> None:
    matrices(1, 20, 19, 30, None)


def test_half_operands_are_summed_in_float32() -> None:
    matrices(1, 7, 9, 11, SMALL, dtypes.bfloat16)


def test_long_sums_are_folded() -> None:
    matrices(1, 3, 5, 60, DEEP)


def test_very_long_sums_have_one_more_level() -> None:
    matrices(1, 2, 3, 513 * SMALL.depth, SMALL)


@settings(max_examples=10, deadline=None)
@given(h=st.sampled_from([3, 4, 6]), stride=st.sampled_from([1, 2]), deep=st.booleans())
def test_convolution_reads_through_its_index_maps(h: int, stride: int, deep: bool) -> None:
    images, channels, filters, padding, kernel = 2, 3, 4, 1, 3
    out = (h + 2 * padding - kernel) // stride + 1
    x = row_major_buffer("x", F32, (images, channels, h, h))
    w = row_major_buffer("w", F32, (filters, channels, kernel, kernel))
    y = row_major_buffer("y", F32, (images, filters, out, out))
    i, oh, ow, c, kh, kw, f = (Var(v) for v in ("i", "oh", "ow", "c", "kh", "kw", "f"))

    def position(o: Var, q: Var) -> tuple[Expr, Expr]:
        raw = plus(plus(times(o, stride), q), -padding)
        inside = scalar.apply(
            "and",
            scalar.apply("le", scalar.integer(0), raw),
            scalar.apply("lt", raw, scalar.integer(h)),
        )
        top = scalar.apply("min", raw, scalar.integer(h - 1))
        return scalar.apply("max", top, scalar.integer(0)), inside

    (row, row_inside), (column, column_inside) = position(oh, kh), position(ow, kw)
    inside = scalar.apply("and", row_inside, column_inside)
    pixel = scalar.select(inside, load(x, i, c, row, column), Const(0.0, F32))

    def epilogue(point: dict[Expr, Expr], value: Expr) -> tuple[Store, ...]:
        return (Store(y, tuple(point[v] for v in (i, f, oh, ow)), value),)

    contraction = Contraction(
        (), ((f, filters),), ((i, images), (oh, out), (ow, out)),
        ((c, channels), (kh, kernel), (kw, kernel)),
        load(w, f, c, kh, kw), pixel, F32, epilogue,
    )  # fmt: skip
    rng = np.random.default_rng(1)
    image = rng.standard_normal((images, channels, h, h)).astype(np.float32)
    weight = rng.standard_normal((filters, channels, kernel, kernel)).astype(np.float32)
    result = np.full((images, filters, out, out), np.nan, np.float32)
    run(contraction, (x, w, y), [image, weight, result], DEEP if deep else SMALL)
    padded = np.pad(image, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    expected = np.einsum("nchwij,fcij->nfhw", windows[:, :, ::stride, ::stride], weight)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 3), (1, 1, 1), (7, 9, 11), (5, 4, 0)])
def test_symbolic_extents(m: int, n: int, k: int) -> None:
    sm, sn, sk = (dim.symbol(s) for s in ("sm", "sn", "sk"))
    a, b = row_major_buffer("a", F32, (sm, sk)), row_major_buffer("b_", F32, (sk, sn))
    y = row_major_buffer("y", F32, (sm, sn))

    def epilogue(point: dict[Expr, Expr], value: Expr) -> tuple[Store, ...]:
        return (Store(y, (point[M], point[N]), value),)

    contraction = Contraction(
        (), ((M, sm),), ((N, sn),), ((K, sk),), load(a, M, K), load(b, K, N), F32, epilogue
    )
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    out = np.full((m, n), np.nan, np.float32)
    arrays = [x.astype(np.float32), w.astype(np.float32), out]
    run(contraction, (a, b, y), arrays, SMALL, {"sm": m, "sn": n, "sk": k})
    np.testing.assert_allclose(out, x @ w, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("registers", [16, 32])
@pytest.mark.parametrize("m", [1, 2, 5, 16, 64, 1024])
@pytest.mark.parametrize("n", [1, 10, 40, 64, 1024])
def test_register_tiles_fit(m: int, n: int, registers: int) -> None:
    target = Target("x86_64-unknown-linux-gnu", "x86-64", "", 512, registers, threads=2)
    shape = tile_shape(m, n, 256, 1, F32, target, 2)
    assert shape.rows * shape.vectors + shape.vectors + 1 <= registers
    assert shape.row_share % shape.row_block == 0 == shape.row_block % shape.rows
    assert shape.column_share % shape.columns == 0
