"""Joint graphs in two halves."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.builder import GraphBuilder
from smelt.ir.errors import InternalError
from smelt.ir.graph import Graph
from smelt.ir.interpreter import run_graph
from smelt.ir.op import NoVjp, OpDef
from smelt.ir.text import parse
from smelt.ir.verify import verify
from smelt.passes.autograd import Autograd
from smelt.passes.partition import Partition, partition

from tests.graphs import same_bits, sample_graph


def test_what_the_backward_reads_is_saved() -> None:
    joint = Autograd().run(
        parse(
            """graph layer(%x: f32[n,4], %w: f32[4,2], %g: f32[n,2]) {
              %h: f32[n,2] = matmul(%x, %w)
              %y: f32[n,2] = tanh(%h)
              %gx: f32[n,4], %gw: f32[4,2] = grad(%y, %g, %x, %w) {outputs=1}
              return %y, %gx, %gw
            }"""
        )
    )
    parts = partition(joint, outputs=1, cotangents=1)
    assert str(verify(parts.forward)) == str(
        parse(
            """graph layer(%x: f32[n,4], %w: f32[4,2]) {
              %h: f32[n,2] = matmul(%x, %w)
              %y: f32[n,2] = tanh(%h)
              return %y
            }"""
        )
    )
    assert [v.name for v in verify(parts.backward).inputs] == ["x", "w", "y", "g"]
    assert parts.saved_inputs == (0, 1)
    assert parts.saved_outputs == (0,)
    assert [v.name for v in parts.backward.outputs] == ["gx", "gw"]


def test_residuals_follow_the_outputs() -> None:
    joint = parse(
        """graph f(%x: f32[2], %z: f32[3], %g: f32[2]) {
          %a: f32[2] = exp(%x)
          %b: f32[2] = sin(%a)
          %c: f32[2] = cos(%a)
          %d: f32[2] = mul(%g, %c)
          %zero: f32[3] = full() {value=0x0p+0, dtype=f32, shape=(3,)}
          return %b, %d, %zero
        }"""
    )
    parts = partition(joint, outputs=1, cotangents=1)
    assert str(parts.forward) == str(
        parse(
            """graph f(%x: f32[2], %z: f32[3]) {
              %a: f32[2] = exp(%x)
              %b: f32[2] = sin(%a)
              return %b, %a
            }"""
        )
    )
    assert str(parts.backward) == str(
        parse(
            """graph f_backward(%a: f32[2], %g: f32[2]) {
              %c: f32[2] = cos(%a)
              %d: f32[2] = mul(%g, %c)
              %zero: f32[3] = full() {value=0x0p+0, dtype=f32, shape=(3,)}
              return %d, %zero
            }"""
        )
    )
    assert (parts.saved_inputs, parts.saved_outputs) == ((), (1,))


def test_an_output_that_depends_on_a_cotangent_is_refused() -> None:
    joint = parse("graph f(%x: f32[], %g: f32[]) {\n  %1: f32[] = mul(%x, %g)\n  return %1\n}")
    with pytest.raises(InternalError, match="a forward output depends on a cotangent"):
        partition(joint, outputs=1, cotangents=1)


def run_apart(
    parts: Partition, primals: tuple[np.ndarray, ...], seeds: list[np.ndarray], outputs: int
) -> tuple[np.ndarray, ...]:
    results = run_graph(parts.forward, primals)
    saved = [primals[k] for k in parts.saved_inputs] + [results[k] for k in parts.saved_outputs]
    return (*results[:outputs], *run_graph(parts.backward, [*saved, *seeds]))


def joint_graph(graph: Graph) -> tuple[Graph, int, int]:
    builder = GraphBuilder("joint")
    inputs = [builder.input(v.type) for v in graph.inputs]
    outputs = builder.inline(graph, inputs)
    floats = [v for v in outputs if v.type.dtype.is_floating_point]
    seeds = [builder.input(v.type) for v in floats]
    wrt = [v for v in inputs if v.type.dtype.is_floating_point]
    gradients = builder("grad", *floats, *seeds, *wrt, outputs=len(floats))
    joint = Autograd().run(builder.finish([*outputs, *gradients]))
    return joint, len(outputs), len(seeds)


DIFFERENTIABLE = [
    op for op in registry.OPS.values() if not isinstance(op.vjp, NoVjp) and op.name != "grad"
]


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=str)
def test_the_halves_give_what_the_joint_graph_gives(op: OpDef) -> None:
    for sample in list(op.samples())[:4]:
        graph = sample_graph(op, sample)
        if not any(v.type.dtype.is_floating_point for v in graph.outputs):
            continue
        joint, outputs, cotangents = joint_graph(graph)
        parts = partition(joint, outputs, cotangents)
        verify(parts.forward)
        verify(parts.backward)
        random = np.random.default_rng(0)
        seeds = [
            np.asarray(random.standard_normal(v.type.sizes)).astype(v.type.dtype.numpy)
            for v in joint.inputs[len(graph.inputs) :]
        ]
        with np.errstate(all="ignore"):
            expected = run_graph(joint, [*sample.operands, *seeds])
            found = run_apart(parts, sample.operands, seeds, outputs)
        assert all(same_bits(a, b) for a, b in zip(expected, found, strict=True))
