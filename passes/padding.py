"""Give padded convolutions memory that is padded, so that they read without conditions.

    %y = conv(%x, %w) {padding=(1, 1), …}     %p = pad(%x) {low=(0, 0, 1, 1), high=…, value=0x0p+0}
                                              %y = conv(%p, %w) {padding=(0, 0), …}

Takes and gives graphs of primitives. The gradient for the input, where the stride is 1, is itself a
convolution of the padded cotangent with the kernel turned round. Convolutions that no template
takes (channel by channel, or tiny) stay as they are: their loops skip what lies outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from smelt.ir import dim as dims
from smelt.ir.builder import GraphBuilder
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.primitive import is_template_contraction
from smelt.passes.rewrite import rewrite, with_attrs


@dataclass(frozen=True)
class Padding:
    """Pad what convolutions read."""

    name: ClassVar[str] = "padding"

    def run(self, graph: Graph) -> Graph:
        return rewrite(graph, _rule)


def _rule(builder: GraphBuilder, node: Node) -> Sequence[Value] | None:
    found = _RULES.get(node.op.name)
    if found is None or not is_template_contraction(node):
        return None
    result = found(builder, node)
    return None if result is None else (result,)


def _pad_input(builder: GraphBuilder, node: Node) -> Value | None:
    """Pad the first operand of a convolution, or of its gradient for the kernel."""
    padding: tuple[int, ...] = node.attrs.padding
    if not any(padding):
        return None
    x, other = node.inputs
    padded = _padded(builder, x, padding, padding)
    return with_attrs(builder, node, padded, other, padding=(0,) * len(padding))


def _turn_round(builder: GraphBuilder, node: Node) -> Value | None:
    """Write the gradient for the input as a convolution of the padded cotangent."""
    attrs: Any = node.attrs
    g, w = node.inputs
    if attrs.groups != 1 or any(s != 1 for s in attrs.stride):
        return None
    kernel = w.type.shape[2:]
    if not dims.is_static(*kernel, *g.type.shape, *attrs.input_shape):
        return None
    reach = [d * (int(k) - 1) for k, d in zip(w.type.sizes[2:], attrs.dilation)]
    low = tuple(r - p for r, p in zip(reach, attrs.padding))
    high = tuple(
        int(n) - m - a + r for n, m, a, r in zip(attrs.input_shape, g.type.sizes[2:], low, reach)
    )
    if min((*low, *high), default=0) < 0:
        return None
    spatial = tuple(range(2, w.type.rank))
    turned = builder("flip", builder.permute(w, (1, 0, *spatial)), dims=spatial)
    return builder(
        "conv",
        _padded(builder, g, low, high),
        turned,
        stride=attrs.stride,
        padding=(0,) * len(spatial),
        dilation=attrs.dilation,
        groups=1,
    )


def _padded(builder: GraphBuilder, x: Value, low: tuple[int, ...], high: tuple[int, ...]) -> Value:
    """Return x with zeros around its spatial dimensions."""
    if not any((*low, *high)):
        return x
    return builder("pad", x, low=(0, 0, *low), high=(0, 0, *high), value=0.0)


_RULES: dict[str, Callable[[GraphBuilder, Node], Value | None]] = {
    "conv": _pad_input,
    "conv_weight_grad": _pad_input,
    "conv_input_grad": _turn_round,
}
