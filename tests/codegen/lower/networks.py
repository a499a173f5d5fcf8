"""Parts of networks as graphs, for tests of fusion and lowering."""

from __future__ import annotations

from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph, Value

from tests.codegen.lower.lowering import f32


def block(batch: int = 2, length: int = 8, width: int = 16, heads: int = 2) -> Graph:
    """Return a transformer block: attention and a perceptron, each behind a layer norm."""
    b = GraphBuilder("block")
    rows = batch * length
    depth = width // heads

    def weight(name: str, *shape: int) -> Value:
        return b.input(f32(*shape), name)

    def norm(x: Value, name: str) -> Value:
        scale, shift = weight(f"{name}_scale", width), weight(f"{name}_shift", width)
        return b("layer_norm", x, scale, shift, dims=1, eps=1e-5)

    def linear(x: Value, name: str, out: int) -> Value:
        (_, wide) = x.type.sizes
        return b("linear", x, weight(f"{name}_weight", out, wide), weight(f"{name}_bias", out))

    x = b.input(f32(batch, length, width), "x")
    h = b.reshape(norm(x, "first"), (rows, width))
    joint = b.reshape(linear(h, "qkv", 3 * width), (batch, length, 3, heads, depth))
    joint = b.permute(joint, (2, 0, 3, 1, 4))
    parts = [
        b.reshape(
            b(
                "slice", joint, starts=(k, 0, 0, 0, 0),
                stops=(k + 1, batch, heads, length, depth), steps=(1,) * 5,
            ),
            (batch, heads, length, depth),
        )
        for k in range(3)
    ]  # fmt: skip
    seen = b("scaled_dot_product_attention", *parts, causal=True, scale=None)
    seen = b.reshape(b("contiguous", b.permute(seen, (0, 2, 1, 3))), (rows, width))
    x = b("add", x, b.reshape(linear(seen, "out", width), (batch, length, width)))
    h = b.reshape(norm(x, "second"), (rows, width))
    h = b("gelu", linear(h, "wide", 4 * width), approximate="none")
    h = linear(h, "narrow", width)
    return b.finish([b("add", x, b.reshape(h, (batch, length, width)))])


def with_gradients(forward: Graph) -> Graph:
    """Return a graph that also gives the gradients of the sum of its output."""
    b = GraphBuilder(f"{forward.name}_step")
    inputs = [b.input(v.type, v.name) for v in forward.inputs]
    (out,) = b.inline(forward, inputs)
    grads = b("grad", out, b.full_like(out, 1.0), *inputs, outputs=1)
    return b.finish([out, *grads])


def momentum_step(shapes: list[tuple[int, ...]]) -> tuple[Graph, dict[int, int]]:
    """Return a step of SGD with momentum over parameters, and what it is to write in place."""
    b = GraphBuilder("sgd")
    scalars = [b.input(f32(), n) for n in ("lr", "momentum", "dampening", "weight_decay")]
    results: list[Value] = []
    donate: dict[int, int] = {}
    for number, shape in enumerate(shapes):
        first = len(scalars) + 3 * number
        p, g, v = (b.input(f32(*shape), f"{n}{number}") for n in "pgv")
        donate[len(results)], donate[len(results) + 1] = first, first + 2
        results += b("sgd_step", p, g, *scalars, v, nesterov=False, maximize=False)
    return b.finish(results), donate
