"""Scheduled kernels as machine code: right at every instruction set, and as they were meant."""

import re

import numpy as np
import pytest
from smelt.codegen.llvm.module import assembly_of, emit_program
from smelt.codegen.schedule.contraction import contract
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.codegen.schedule.product import Contraction
from smelt.codegen.target import Target
from smelt.ir import dtypes, scalar
from smelt.ir.loop.builder import Names, load, loop, plus, store, times
from smelt.ir.loop.grammar import Kernel, Stmt, Store, row_major_buffer
from smelt.ir.scalar import Expr, Var

from tests.codegen.llvm import native

F32 = dtypes.float32
M, N = Var("m"), Var("n")
IMAGE, ROW, COLUMN = Var("image"), Var("row"), Var("column")
CHANNEL, R, S = Var("channel"), Var("r"), Var("s")


def matrix_product(target: Target, m: int, n: int, k: int) -> Kernel:
    """Return the kernel of y = a @ b."""
    p = Var("k")
    a, b, y = (row_major_buffer(t, F32, s) for t, s in zip("aby", ((m, k), (k, n), (m, n))))

    def epilogue(point: dict[Expr, Expr], value: Expr) -> tuple[Stmt, ...]:
        return (Store(y, (point[M], point[N]), value),)

    product = Contraction(
        (), ((M, m),), ((N, n),), ((p, k),), load(a, M, p), load(b, p, N), F32, epilogue
    )
    body = contract(product, target, Names({"a", "b", "y", "m", "n", "k"})).body
    return Kernel("product", (a, b, y), body, written=frozenset({"y"}))


def weight_gradient(target: Target) -> Kernel:
    """Return the gradient of a 3 x 3 convolution: long sums over images and pixels."""
    images, inputs, outputs, size = 64, 16, 32, 8
    x = row_major_buffer("x", F32, (images, inputs, size + 2, size + 2))
    g = row_major_buffer("g", F32, (images, outputs, size, size))
    y = row_major_buffer("y", F32, (outputs, inputs, 3, 3))

    def epilogue(point: dict[Expr, Expr], value: Expr) -> tuple[Stmt, ...]:
        return (Store(y, tuple(point[v] for v in (N, CHANNEL, R, S)), value),)

    product = Contraction(
        (),
        ((CHANNEL, inputs), (R, 3), (S, 3)),
        ((N, outputs),),
        ((IMAGE, images), (ROW, size), (COLUMN, size)),
        load(x, IMAGE, CHANNEL, plus(ROW, R), plus(COLUMN, S)),
        load(g, IMAGE, N, ROW, COLUMN),
        F32,
        epilogue,
    )
    names = Names({"x", "g", "y", *(v.name for v in (N, CHANNEL, R, S, IMAGE, ROW, COLUMN))})
    body = contract(product, target, names).body
    return Kernel("gradient", (x, g, y), body, written=frozenset({"y"}))


@pytest.mark.parametrize("level", native.targets())
@pytest.mark.parametrize("threads", [1, 2])
def test_products_at_every_instruction_set(level: str, threads: int) -> None:
    target = native.targets()[level].with_threads(threads)
    rng = np.random.default_rng(0)
    m, n, k = 150, 131, 600
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    kernel = matrix_product(target, m, n, k)
    (out,) = native.run(native.program_of(kernel), [a, b], target)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(out, exact, rtol=0, atol=2e-4)


def innermost_products(assembly: str) -> list[list[str]]:
    """Return the instructions of each loop that multiplies and adds, between label and jump."""
    found: list[list[str]] = []
    block: list[str] = []
    for line in assembly.splitlines():
        text = line.strip()
        if re.fullmatch(r"\.LBB\d+_\d+:", text):
            block = []
        elif text:
            block.append(text)
            if text.startswith("j") and sum("vfmadd" in t for t in block) > 8:
                found.append(block)
                block = []
    return found


def on_x86(level: str) -> Target:
    if level not in native.targets():
        pytest.skip(f"this machine has no {level}")
    return native.targets()[level]


@pytest.mark.parametrize("level", ["avx512", "avx2"])
@pytest.mark.parametrize("make", [lambda t: matrix_product(t, 240, 256, 256), weight_gradient])
def test_register_tiles_stay_in_registers(level: str, make) -> None:
    target = on_x86(level)
    kernel = make(target)
    emission = emit_program(native.program_of(kernel), target)
    loops = innermost_products(assembly_of(emission.llvm_ir, target))
    assert loops
    register = {"avx512": "%zmm", "avx2": "%ymm"}[level]
    for block in loops:
        assert all(register in t for t in block if "vfmadd" in t)
        spilled = [t for t in block if register in t and "(%rsp)" in t]
        assert not spilled, spilled


def test_elementwise_loops_use_the_whole_vector_width() -> None:
    target = on_x86("avx512")
    x, y = (row_major_buffer(name, F32, (1000,)) for name in "xy")
    i = Var("i")
    body = (loop(i, 1000, [store(y, [i], scalar.apply("exp", load(x, i)))]),)
    kernel = schedule_kernel(Kernel("exp", (x, y), body, written=frozenset({"y"})), target)
    data = np.linspace(-5, 5, 1000).astype(np.float32)
    (out,) = native.run(native.program_of(kernel), [data], target)
    np.testing.assert_allclose(out, np.exp(data), rtol=3e-7)
    emission = emit_program(native.program_of(kernel), target)
    assert "%zmm" in assembly_of(emission.llvm_ir, target)


def test_a_transposed_copy_reads_and_writes_in_order() -> None:
    n, m = 70, 90
    x, y = row_major_buffer("x", F32, (n, m)), row_major_buffer("y", F32, (m, n))
    i, j = Var("i"), Var("j")
    inner = loop(j, m, [store(y, [j, i], load(x, i, j))])
    kernel = Kernel("transpose", (x, y), (loop(i, n, [inner]),), written=frozenset({"y"}))
    target = native.best()
    data = np.arange(n * m, dtype=np.float32).reshape(n, m)
    (out,) = native.run(native.program_of(schedule_kernel(kernel, target)), [data], target)
    np.testing.assert_array_equal(out, data.T)


def test_flat_index_arithmetic_of_long_loops() -> None:
    x, y = row_major_buffer("x", F32, (333,)), row_major_buffer("y", F32, (333,))
    i, j = Var("i"), Var("j")
    place = plus(times(i, 37), j)
    nest = loop(i, 9, [loop(j, 37, [store(y, [place], scalar.apply("neg", load(x, place)))])])
    kernel = Kernel("neg", (x, y), (nest,), written=frozenset({"y"}))
    data = np.arange(333, dtype=np.float32)
    for target in native.targets().values():
        (out,) = native.run(native.program_of(schedule_kernel(kernel, target)), [data], target)
        np.testing.assert_array_equal(out, -data)
