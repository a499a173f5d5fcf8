"""The kernels that must be fast use the full width of the machine's vector registers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from smelt.codegen.llvm.module import emit_program
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.codegen.target import host
from smelt.ir.graph import Graph

from tests.codegen.lower.lowering import f32, launches, lowered, single
from tests.codegen.lower.test_kernels import linear_gelu

REGISTERS = {512: r"%zmm\d+", 256: r"%ymm\d+", 128: r"%xmm\d+|\bv\d+\.4s"}
NETWORKS = [
    single("softmax", f32(64, 256), dim=1),
    single("layer_norm", f32(64, 256), f32(256), f32(256), dims=1, eps=1e-5),
    linear_gelu(64, 64, 64),
]


@pytest.mark.parametrize("graph", NETWORKS, ids=lambda g: g.name)
def test_full_vector_width(graph: Graph) -> None:
    target = host(1)
    program = lowered(graph)
    assert len(launches(program)) == 1
    kernels = tuple(schedule_kernel(k, target) for k in program.kernels)
    assembly = emit_program(replace(program, kernels=kernels), target).assembly
    full = re.compile(REGISTERS[target.vector_bits])
    arithmetic = re.compile(r"\b(v?f?n?m?(add|sub|mul|div|max)\w*|fml\w*)\b")
    lines = [line for line in assembly.splitlines() if arithmetic.search(line)]
    assert sum(bool(full.search(line)) for line in lines) >= 8
