"""Factors packed ahead against NumPy: the product reads the panels that another kernel filled."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smelt.codegen.schedule import keep
from smelt.codegen.schedule.analysis import accesses
from smelt.codegen.schedule.contraction import contract
from smelt.codegen.schedule.product import Axis, Contraction
from smelt.codegen.schedule.tile_shape import TileShape
from smelt.codegen.target import Target
from smelt.ir import dim, dtypes, scalar
from smelt.ir.dim import Dim
from smelt.ir.loop.builder import Names, load
from smelt.ir.loop.grammar import Buffer, For, Kernel, Kind, Store, row_major_buffer, walk
from smelt.ir.loop.interpreter import run_kernel
from smelt.ir.loop.parser import parse_kernel
from smelt.ir.loop.printer import print_kernel
from smelt.ir.loop.verify import verify_kernel
from smelt.ir.scalar import Expr, Var

F32 = dtypes.float32
TARGET = Target("x86_64-unknown-linux-gnu", "x86-64", "+sse2", 128, 16, threads=2)
SMALL = TileShape(
    rows=3, vectors=2, lanes=4, depth=5, row_block=6, row_share=12, column_share=16, fold=5
)
DEEP = TileShape(
    rows=2, vectors=1, lanes=4, depth=64, row_block=4, row_share=8, column_share=8, fold=7
)
B, M, N, K = Var("b"), Var("m"), Var("n"), Var("k")


def product(
    a: Buffer, b: Buffer, y: Buffer, batch: tuple[Axis, ...], sizes: tuple[int | Dim, ...],
    frozen: tuple[bool, bool],
) -> Contraction:  # fmt: skip
    m, n, k = sizes
    lead = tuple(v for v, _ in batch)

    def epilogue(point: dict[Expr, Expr], value: Expr) -> tuple[Store, ...]:
        return (Store(y, (*(point[v] for v in lead), point[M], point[N]), value),)

    return Contraction(
        batch, ((M, m),), ((N, n),), ((K, k),),
        load(a, *lead[: len(a.shape) - 2], M, K), load(b, *lead[: len(b.shape) - 2], K, N),
        F32, epilogue, *frozen,
    )  # fmt: skip


def run(kernel: Kernel, arrays: list[np.ndarray]) -> None:
    verify_kernel(kernel)
    text = print_kernel(kernel)
    assert print_kernel(parse_kernel(text)) == text
    run_kernel(kernel, arrays)


def laid_out(name: str, shape: tuple[int, ...], transposed: bool) -> Buffer:
    *lead, rows, columns = shape
    inner = (1, rows) if transposed else (columns, 1)
    return Buffer(name, F32, shape, (*(rows * columns for _ in lead), *inner))


def array_of(buffer: Buffer, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal(buffer.shape).astype(np.float32)
    if buffer.strides[-1] == 1:
        return found
    return np.ascontiguousarray(found.swapaxes(-1, -2)).swapaxes(-1, -2)


def check(
    batch: int, m: int, n: int, k: int, shape: TileShape, frozen: tuple[bool, bool],
    transposed: tuple[bool, bool], shared: bool,
) -> int:  # fmt: skip
    """Compare with NumPy; return how many factors were packed ahead."""
    a = laid_out("a", (batch, m, k), transposed[0])
    b = laid_out("b_", (k, n) if shared else (batch, k, n), transposed[1])
    y = row_major_buffer("y", F32, (batch, m, n))
    found = contract(
        product(a, b, y, ((B, batch),), (m, n, k), frozen), TARGET,
        Names({"a", "b_", "y", "b", "m", "n", "k"}), shape,
    )  # fmt: skip
    x, w = array_of(a, 0), array_of(b, 1)
    given = {a: x, b: w}
    panels: list[np.ndarray] = []
    for kept in found.kept:
        (source,) = {access.buffer for access in accesses(kept.body) if not access.writes}
        panel = np.full(kept.buffer.shape, np.nan, np.float32)
        packing = Kernel(
            "pack", (source, kept.buffer), kept.body, (), frozenset({kept.buffer.name})
        )
        run(packing, [given[source], panel])
        panels.append(panel)
        # What was packed ahead is not looked at again.
        given[source] = np.full_like(given[source], np.nan)
    out = np.full(y.shape, np.nan, np.float32)
    params = (a, b, y, *(kept.buffer for kept in found.kept))
    kernel = Kernel("product", params, found.body, (), frozenset({"y"}))
    run(kernel, [given[a], given[b], out, *panels])
    expected = x.astype(np.float64) @ w.astype(np.float64)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)
    return len(found.kept)


edges = st.sampled_from([1, 2, 3, 4, 5, 8, 9, 13, 17])


@settings(max_examples=60, deadline=None)
@given(
    batch=st.sampled_from([1, 2]),
    m=edges,
    n=edges,
    k=edges,
    deep=st.booleans(),
    frozen=st.sampled_from([(True, False), (False, True), (True, True)]),
    transposed=st.tuples(st.booleans(), st.booleans()),
    shared=st.booleans(),
)
def test_all_edges(
    batch: int, m: int, n: int, k: int, deep: bool, frozen: tuple[bool, bool],
    transposed: tuple[bool, bool], shared: bool,
) -> None:  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keep, "_LEAST", 1)
        shape = DEEP if deep else SMALL
        assert check(batch, m, n, k, shape, frozen, transposed, shared) == sum(frozen)


def test_a_factor_without_the_batch_is_packed_once() -> None:
    found = frozen_product(64, 64, 64, batch=7, shared=True)
    (kept,) = found.kept
    assert kept.lead == ()
    assert math.prod(kept.buffer.shape) < 2 * 64 * 64
    (kept,) = frozen_product(64, 64, 64, batch=7, shared=False).kept
    assert kept.lead == ((B, 7),)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [((8, 64, 64), 1), ((8, 32, 32), 0), ((4096, 64, 64), 0), ((dim.symbol("s"), 64, 64), 0)],
    ids=["weights", "tiny", "many rows", "symbolic"],
)
def test_packing_ahead_where_it_pays(sizes: tuple[int, int, int], count: int) -> None:
    assert len(frozen_product(*sizes).kept) == count


def test_several_workers_pack() -> None:
    (small,), (large,) = (frozen_product(8, n, 256).kept for n in (32, 1024))
    assert outermost(small.body).kind is Kind.SERIAL
    assert outermost(large.body).kind is Kind.PARALLEL


def outermost(body: tuple) -> For:
    return next(s for s in walk(body) if isinstance(s, For))


def frozen_product(m: int | Dim, n: int, k: int, batch: int = 1, shared: bool = True):
    a = row_major_buffer("a", F32, (batch, m, k))
    b = row_major_buffer("b_", F32, (k, n) if shared else (batch, k, n))
    y = row_major_buffer("y", F32, (batch, m, n))
    contraction = product(a, b, y, ((B, batch),), (m, n, k), (False, True))
    assert scalar.variables(contraction.right)
    return contract(contraction, TARGET, Names({"a", "b_", "y", "b", "m", "n", "k", "s"}))
