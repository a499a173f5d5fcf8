"""Random networks of ordinary sizes as machine code: large enough for templates, rows and parts."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from smelt.codegen.schedule.pipeline import schedule_kernel
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph, Value
from smelt.ir.interpreter import run_graph
from smelt.ir.loop.verify import verify_program

from tests.codegen.llvm.native import run
from tests.codegen.lower.lowering import TARGET, arrays_for, f32, lowered

UNARY = ("exp", "tanh", "relu", "neg", "sigmoid", "square")
MOST_ELEMENTS = 200_000


def network(seed: int) -> Graph:
    """Return a network of up to a dozen layers, half of the time with its gradients."""
    draw = random.Random(seed)
    b = GraphBuilder(f"network_{seed}")
    shape = (draw.choice([8, 24, 64]), draw.choice([8, 16, 40]))
    values = [b.input(f32(*shape)) for _ in range(2)]
    for _ in range(draw.randint(5, 14)):
        found = _layer(b, draw, values, draw.choice(values[-4:]))
        if found is not None and np.prod(found.type.sizes, dtype=int) <= MOST_ELEMENTS:
            values.append(found)
    last = values[-1]
    outputs = [last, *draw.sample(values, 2)]
    if draw.random() < 0.5:
        outputs += b("grad", last, b.full_like(last, 1.0), *values[:2], outputs=1)
    return b.finish(outputs)


def _layer(b: GraphBuilder, draw: random.Random, values: list[Value], x: Value) -> Value | None:
    """Append a layer over `x`; None where the one that was drawn does not fit."""
    shape = x.type.sizes
    rank = len(shape)
    if rank == 0:
        return b(draw.choice(UNARY), x)
    dim = draw.randrange(rank)
    match draw.randrange(10):
        case 0:
            return b(draw.choice(UNARY), x)
        case 1:
            return b("softmax", x, dim=dim)
        case 2:
            mean = b.scale(b.sum(x, (dim,)), 1 / max(1, shape[dim]))
            return draw.choice([mean, b("sub", x, b.spread(mean, (dim,), shape))])
        case 3:
            return b("amax", x, dims=(dim,))
        case 4:
            dims = list(range(rank))
            draw.shuffle(dims)
            return b.permute(x, tuple(dims))
        case 5:
            return b(draw.choice(["add", "mul", "sub"]), x, _like(draw, values, x))
        case 6 if rank == 2:
            return b("matmul", x, b.input(f32(shape[1], draw.choice([5, 16, 48]))))
        case 7 if rank == 2:
            return b("layer_norm", x, dims=1, eps=1e-5)
        case 8 if rank == 2:
            joined = b("cat", x, x, dim=dim)
            return b("pad", joined, low=(1, 0), high=(0, 2), value=0.5)
        case 9 if shape[0] % 4 == 0:
            return b.reshape(x, (4, shape[0] // 4, *shape[1:]))
        case _:
            return None


def _like(draw: random.Random, values: list[Value], x: Value) -> Value:
    return draw.choice([v for v in values if v.type == x.type])


@pytest.mark.parametrize("seed", range(12))
def test_machine_code_gives_what_the_graph_gives(seed: int) -> None:
    graph = network(seed)
    arrays = arrays_for(graph, 0.5)
    program = lowered(graph)
    kernels = tuple(schedule_kernel(k, TARGET) for k in program.kernels)
    scheduled = replace(program, kernels=kernels)
    verify_program(scheduled)
    expected, found = run_graph(graph, arrays), run(scheduled, arrays, TARGET)
    for a, c in zip(expected, found, strict=True):
        scale = max(1.0, float(np.abs(a).max(initial=0)))
        np.testing.assert_allclose(c, a, rtol=2e-3, atol=2e-3 * scale)
