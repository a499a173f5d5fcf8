"""The CUDA emitter: golden text; the meaning of a binding by the loop interpreter and by LLVM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from smelt.codegen.cuda.emit import emit_kernel
from smelt.codegen.cuda.expressions import Names, python
from smelt.codegen.schedule import cuda
from smelt.ir import dtypes
from smelt.ir.errors import LoweringError
from smelt.ir.loop.grammar import For, Kernel, Kind, Store, row_major_buffer
from smelt.ir.loop.interpreter import run_kernel
from smelt.ir.loop.parser import parse_kernel
from smelt.ir.loop.verify import verify_kernel
from smelt.ir.scalar import SCALAR_OPS, Apply, Load, Typing, Var, integer

from tests.codegen.cuda import kernels
from tests.codegen.llvm import native

NAMES = [*kernels.TEXTS, "matmul_relu"]


@pytest.mark.parametrize("name", NAMES)
def test_source_is_the_golden_one(name: str) -> None:
    text = emit_kernel(kernels.bound()[name]).text
    compile(text, name, "exec")
    assert text == (kernels.GOLDEN / f"{name}.txt").read_text()


def arguments(kernel: Kernel, sizes: dict[str, int]) -> list[Any]:
    """Return arrays for a kernel's parameters."""
    rng = np.random.default_rng(5)
    found = []
    for param in kernel.params:
        shape = tuple(sizes["n"] if not isinstance(e, int) else e for e in param.shape)
        if param.dtype.is_integer:
            found.append(rng.integers(1, 9, shape).astype(param.dtype.numpy))
        else:
            found.append(rng.standard_normal(shape).astype(param.dtype.numpy))
    return found


@pytest.mark.parametrize("name", kernels.TEXTS)
def test_binding_keeps_the_meaning(name: str) -> None:
    before, after = kernels.serial(name), kernels.bound()[name]
    verify_kernel(after)
    sizes = dict.fromkeys(before.sizes, 9)
    given = arguments(before, sizes)
    expected, found = [a.copy() for a in given], [a.copy() for a in given]
    run_kernel(before, expected, sizes)
    run_kernel(after, found, sizes)
    compiled = native.run(
        native.program_of(after), [a for a, b in zip(given, before.params)
                                   if b.name not in before.written],
    )  # fmt: skip
    outputs = [a for a, b in zip(expected, before.params) if b.name in before.written]
    for got, want in zip(found, expected):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    for got, want in zip(compiled, outputs):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_product_template() -> None:
    kernel = kernels.product()
    verify_kernel(kernel)
    a, b, out = arguments(kernel, {})
    run_kernel(kernel, [a, b, out])
    np.testing.assert_allclose(out, np.maximum(a @ b, 0), rtol=1e-4, atol=1e-5)
    (compiled,) = native.run(native.program_of(kernel), [a, b])
    np.testing.assert_allclose(compiled, np.maximum(a @ b, 0), rtol=1e-4, atol=1e-5)


def test_rows_that_cannot_be_shared_go_to_single_threads() -> None:
    kernel = parse_kernel(
        "kernel running(x: f32[300, 5], out: f32[300, 5] written):\n"
        "    for i in serial(0, 300):\n"
        "        out[i, 0] = x[i, 0]\n"
        "        for j in serial(1, 5):\n"
        "            out[i, j] = out[i, j - 1] + x[i, j]\n"
    )
    bound = cuda.schedule_kernel(kernel)
    verify_kernel(bound)
    assert emit_kernel(bound).functions[0].block == (cuda.THREADS,)
    x, out = arguments(kernel, {})
    run_kernel(bound, [x, out])
    np.testing.assert_allclose(out, np.cumsum(x, axis=1), rtol=1e-5, atol=1e-6)


def test_each_top_statement_is_a_launch() -> None:
    kernel = parse_kernel(
        "kernel two(x: f32[300], y: f32[300] written, z: f32[] written):\n"
        "    for i in serial(0, 300):\n"
        "        y[i] = x[i] * 2.0\n"
        "    for j in serial(0, 300):\n"
        "        z[] += y[j]\n"
    )
    functions = emit_kernel(cuda.schedule_kernel(kernel)).functions
    assert [f.name for f in functions] == ["two_0", "two_1"]
    assert functions[0].grid == (integer(2),)


def test_every_operation_has_python_text() -> None:
    for op, rule in SCALAR_OPS.items():
        for dtype in (dtypes.bool_, dtypes.int32, dtypes.uint64, dtypes.float32, dtypes.float64):
            if dtype.kind not in rule.kinds:
                continue
            inputs = [Var(f"v{n}", dtype) for n in range(rule.arity)]
            if rule.typing is Typing.SELECT:
                inputs[0] = Var("v0", dtypes.bool_)
            is_truth = rule.typing in (Typing.COMPARE, Typing.TEST)
            result = dtypes.bool_ if is_truth else dtype
            if rule.typing is Typing.CONVERT:
                result = dtypes.int64
            compile(python(Names(), Apply(op, tuple(inputs), result)), op, "eval")


def test_what_gpus_do_not_have_yet_is_refused() -> None:
    x = row_major_buffer("x", dtypes.bfloat16, (8,))
    i = Var("i")
    body = For(i, integer(0), integer(8), Kind.BLOCK, (Store(x, (i,), Load(x, (i,))),))
    with pytest.raises(LoweringError, match="cast to float32"):
        emit_kernel(Kernel("half", (x,), (body,), written=frozenset({"x"})))
