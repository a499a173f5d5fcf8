"""Vector maths: errors against 50 digits on samples, special values against NumPy."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from smelt.codegen.llvm.vector_math import FUNCTIONS
from smelt.ir import dtypes, scalar_reference
from smelt.ir.dtypes import DType
from smelt.ir.scalar import SCALAR_OPS, Cost

from tests.codegen.llvm import cases, native
from tests.codegen.llvm.test_scalar_ops import together

F32, F64 = dtypes.float32, dtypes.float64

DOCUMENT = Path(__file__).parents[3] / "docs" / "vector_math.md"


@cache
def documented(precision: str) -> dict[str, float]:
    """Return the bounds that the document gives for single or double precision.

    Instruction sets without fused operations are half a unit worse at most; where samples alone
    were tried, others may be worse by one.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.split(f"## Errors in {precision} precision")[1].split("##")[0]
    rows = re.findall(r"^\| (\w+) \| (\d+\.\d+) \|(.*)", section, re.MULTILINE)
    rows += [(*pair, "") for pair in re.findall(r"`(\w+)` (\d+\.\d+)", section)]
    return {
        name: float(number) + (0.5 if rest.endswith("| all |") else 1.0)
        for name, number, rest in rows
    }


def test_every_transcendental_is_there() -> None:
    wanted = {n for n, rule in SCALAR_OPS.items() if rule.cost is Cost.TRANSCENDENTAL}
    assert wanted == set(FUNCTIONS)
    assert wanted == set(documented("single")) == set(documented("double"))


@pytest.mark.parametrize("level", native.targets())
@pytest.mark.parametrize("lanes", [1, 16])
def test_special_values(level: str, lanes: int) -> None:
    chosen = [(op, d) for op in FUNCTIONS for d in dtypes.FLOATS]
    columns = [[cases.padded(c, lanes) for c in cases.operands(op, d)] for op, d in chosen]
    kernels = [cases.applied(op, d, d, len(c[0]), lanes) for (op, d), c in zip(chosen, columns)]
    arguments = [a for c in columns for a in c]
    found = native.run(together(kernels), arguments, native.targets()[level])
    for (op, dtype), given, got in zip(chosen, columns, found):
        want = np.asarray(scalar_reference.evaluate(op, *given))
        bad = ~_agree(got, want, dtype)
        shown = [(op, dtype, tuple(g[i] for g in given), got[i], want[i])
                 for i in np.flatnonzero(bad)[:4]]  # fmt: skip
        assert not shown


def _agree(got: Any, want: Any, dtype: DType) -> Any:
    """Tell where results agree: same NaN, infinity and sign of zero, and nearly the same number."""
    eps, tiny = {
        "f16": (2.0**-10, 2.0**-14), "bf16": (2.0**-7, 2.0**-126),
        "f32": (2.0**-23, 2.0**-126), "f64": (2.0**-52, 2.0**-1022),
    }[dtype.name]  # fmt: skip
    with np.errstate(all="ignore"):
        g, w = got.astype(np.float64), want.astype(np.float64)
        near = np.abs(g - w) <= 4.5 * eps * np.maximum(np.abs(w), tiny)
        same = (np.isnan(g) & np.isnan(w)) | (np.isinf(w) & (g == w)) | (np.isfinite(w) & near)
        return same & ((w != 0) | (g != 0) | (np.signbit(g) == np.signbit(w)) | np.isnan(g))


@cache
def _samples(op: str, dtype: DType) -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    count, bits = 8192, dtype.bits
    random = rng.integers(0, 2**bits, (2, count), dtype=np.uint64).astype(f"u{bits // 8}")
    anything = random.view(dtype.numpy)
    moderate = (rng.standard_normal((2, count)) * 3.0).astype(dtype.numpy)
    both = np.concatenate([anything, moderate], axis=1)
    if op == "pow":
        both[0] = np.abs(both[0])
    return tuple(np.ascontiguousarray(row) for row in both[: SCALAR_OPS[op].arity])


def errors(found: Any, wide: Any, dtype: DType) -> Any:
    """Return distances in units in the last place of the (wider) reference."""
    digits, least = (24, -126) if dtype is F32 else (53, -1022)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(wide)
        unit = np.ldexp(np.ones_like(wide), np.maximum(exponent - 1, least) - (digits - 1))
        usable = np.isfinite(wide) & np.isfinite(found) & (np.abs(wide) < 2.0**127)
        return np.where(usable, np.abs(found.astype(wide.dtype) - wide) / unit, 0.0)


@pytest.mark.parametrize("level", native.targets())
def test_single_precision_error(level: str) -> None:
    given = {op: _samples(op, F32) for op in FUNCTIONS}
    kernels = [cases.applied(op, F32, F32, len(g[0]), 16) for op, g in given.items()]
    arguments = [a for g in given.values() for a in g]
    found = native.run(together(kernels), arguments, native.targets()[level])
    for (op, g), got in zip(given.items(), found):
        with np.errstate(all="ignore"):
            wide = scalar_reference.evaluate(op, *(a.astype(np.float64) for a in g))
        worst = float(errors(got, wide, F32).max())
        assert worst <= documented("single")[op], f"{op}: {worst} ulp"


@pytest.mark.parametrize("op", FUNCTIONS)
def test_double_precision_error(op: str) -> None:
    given = tuple(np.ascontiguousarray(g[::32]) for g in _samples(op, F64))
    kernel = cases.applied(op, F64, F64, len(given[0]), 8)
    got = native.run(together([kernel]), list(given), native.best())[0]
    worst = 0.0
    with mp.workdps(50):
        exact = {"exp2": lambda v: mp.mpf(2) ** v, "log2": lambda v: mp.log(v, 2), "pow": mp.power}
        function = exact.get(op) or getattr(mp, op)
        for number, result in enumerate(got):
            arguments = [float(g[number]) for g in given]
            if not all(map(math.isfinite, arguments)) or not math.isfinite(result):
                continue
            if op in ("exp", "exp2", "expm1", "sinh", "cosh") and abs(arguments[0]) > 800:
                continue
            if op == "erfc" and arguments[0] > 28:
                continue
            if op == "pow" and abs(arguments[1]) > 1e6:
                continue
            try:
                wanted = function(*map(mp.mpf, arguments))
            except (ValueError, ZeroDivisionError):
                continue
            if isinstance(wanted, mp.mpc) or wanted == 0:
                continue
            exponent = max(int(mp.floor(mp.log(abs(wanted), 2))), -1022)
            worst = max(worst, float(abs(result - wanted) / mp.mpf(2) ** (exponent - 52)))
    assert worst <= documented("double")[op], f"{worst} ulp"


def test_coefficients_are_those_of_the_derivation() -> None:
    from smelt.codegen.llvm import derive_coefficients, vector_math_coefficients

    path = Path(str(vector_math_coefficients.__file__))
    assert path.read_text(encoding="utf-8") == derive_coefficients.module_text()
