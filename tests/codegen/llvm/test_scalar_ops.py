"""Every operation of SCALAR_OPS, at every dtype, against its definition in numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.ir import scalar_reference
from smelt.ir.dtypes import DType
from smelt.ir.loop.grammar import Buffer, Kernel, Launch, Place, Program
from smelt.ir.scalar import SCALAR_OPS
from smelt.runtime.elf import undefined_symbols

from tests.codegen.llvm import cases, native


def together(kernels: list[Kernel]) -> Program:
    """Return one program that launches all the kernels: few modules make quick tests."""
    inputs: list[Buffer] = []
    outputs: list[Buffer] = []
    steps: list[Launch] = []
    for kernel in kernels:
        places: list[Place] = []
        for param in kernel.params:
            block, kind = (outputs, "output") if param.name in kernel.written else (inputs, "input")
            places.append(Place(kind, len(block)))
            block.append(param)
        steps.append(Launch(kernel.name, tuple(places)))
    return Program("together", tuple(kernels), tuple(steps), tuple(inputs), tuple(outputs))


def same(found: Any, expected: Any, dtype: DType) -> Any:
    """Tell where two arrays agree: bit for bit, but that one NaN is as good as another."""
    bits = np.dtype(f"u{dtype.itemsize}")
    equal = found.view(bits) == expected.view(bits)
    if dtype.is_floating_point:
        with np.errstate(invalid="ignore"):
            equal |= np.isnan(found) & np.isnan(expected)
    return equal


@pytest.mark.parametrize("level", native.targets())
@pytest.mark.parametrize("lanes", [1, 16, 5])
def test_exact_operations(level: str, lanes: int) -> None:
    chosen = list(cases.exact_cases())
    if lanes == 5:
        chosen = chosen[::3]
    kernels, arguments, expected = [], [], []
    for op, dtype, result in chosen:
        columns = [cases.padded(c, lanes) for c in cases.operands(op, dtype)]
        kernels.append(cases.applied(op, dtype, result, len(columns[0]), lanes))
        arguments += columns
        conversion = {"dtype": result} if op in ("cast", "bitcast") else {}
        expected.append(scalar_reference.evaluate(op, *columns, **conversion))
    found = native.run(together(kernels), arguments, native.targets()[level])
    for (op, dtype, result), got, want in zip(chosen, found, expected):
        agree = same(got, np.asarray(want), result)
        if op in ("max", "min"):
            agree |= (got == 0) & (want == 0)
        columns = [cases.padded(c, lanes) for c in cases.operands(op, dtype)]
        wrong = np.flatnonzero(~agree)[:4]
        shown = [(tuple(c[w] for c in columns), got[w], want[w]) for w in wrong]
        assert not shown, f"{op} {dtype.name} -> {result.name}: {shown}"


@pytest.mark.parametrize("level", native.targets())
def test_objects_have_no_undefined_symbols(level: str) -> None:
    kernels = []
    for op in SCALAR_OPS:
        for dtype in cases.operand_dtypes(op):
            for result in cases.result_dtypes(op, dtype)[::4]:
                kernel = cases.applied(op, dtype, result, 32, 16 if dtype.bits < 64 else 1)
                kernels.append(replace(kernel, name=f"{kernel.name}_{len(kernels)}"))
    emission = emit_program(together(kernels), native.targets()[level])
    assert undefined_symbols(emission.object.code) == ()
