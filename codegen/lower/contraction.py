"""Hand a contraction to the template, with what is fused around it as holes.

What its operands are made of becomes the expressions of the factors, evaluated once for each panel
that is packed; what is made of its result becomes the epilogue, evaluated once for each element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from smelt.codegen.lower.builder import KernelBuilder
from smelt.codegen.lower.nest import nest
from smelt.codegen.schedule.contraction import Contracted, contract
from smelt.codegen.schedule.product import Contraction
from smelt.codegen.target import Target
from smelt.ir import scalar
from smelt.ir.contraction import contraction
from smelt.ir.dim import Dim
from smelt.ir.graph import Value
from smelt.ir.loop.grammar import Buffer, Stmt, Store
from smelt.ir.primitive import definition
from smelt.ir.scalar import Apply, Expr, Load, Var
from smelt.ir.structured import Stage, accumulated

Group = tuple[tuple[Var, int | Dim], ...]


def contracted(
    builder: KernelBuilder, target: Target, frozen: frozenset[Value] = frozenset()
) -> Contracted:
    """Return the statements of a group around a contraction, scheduled for `target`.

    Args:
        builder: the kernel in the making.
        target: the machine.
        frozen: inputs of the group that seldom change: what reads them alone is packed ahead.
    """
    product = builder.group.contraction
    assert product is not None, "asked of contractions alone"
    stage = definition(product.node)
    assert isinstance(stage, Stage) and stage.combine is not None, "a contraction is a reduction"
    axes = contraction(stage)
    assert axes is not None, "a contraction has axes"
    inliner = builder.inliner()
    (body,) = inliner.body(product.node, product.domain)
    assert isinstance(body, Apply) and body.op == "mul", "a contraction sums products"
    left, right = body.args

    def named(numbers: Sequence[int]) -> Group:
        found = (product.domain[a] for a in numbers)
        return tuple((v, builder.extent(v)) for v in found if isinstance(v, Var))

    m, n = named(axes.m), named(axes.n)
    if _is_last(product.domain, stage.parallel_axes, axes.m):
        # Stores are to run along the result's last dimension, which the vectors go over.
        m, n, left, right = n, m, right, left
    accumulator = stage.combine.identity[0].dtype
    still = {builder.params[v] for v in frozen}
    return contract(
        Contraction(
            batch=named(axes.batch),
            m=m,
            n=n,
            k=named(axes.k),
            left=left,
            right=right,
            accumulator=accumulator,
            epilogue=_Epilogue(builder, stage, accumulated(0, accumulator)),
            left_frozen=_reads_only(left, still),
            right_frozen=_reads_only(right, still),
        ),
        target,
        builder.names,
    )


def _reads_only(factor: Expr, still: AbstractSet[Buffer]) -> bool:
    """Tell whether a factor reads memory, and none but that of `still`."""
    read = {part.buffer for part in scalar.walk(factor) if isinstance(part, Load)}
    return bool(read) and read <= still


def _is_last(domain: Sequence[Expr], kept: Sequence[int], group: Sequence[int]) -> bool:
    """Tell whether the innermost dimension of a result belongs to a group of axes."""
    inner = [a for a in kept if isinstance(domain[a], Var)]
    return bool(inner) and inner[-1] in group


class _Epilogue:
    """Stores what the group makes of one element of the product."""

    def __init__(self, builder: KernelBuilder, stage: Stage, total: Var) -> None:
        self.names = builder.names
        self.total = total
        product = builder.group.contraction
        assert product is not None, "asked of contractions alone"
        builder.scalars[product.node.output] = stage.results[0]
        (last,) = builder.group.stages
        inliner = builder.inliner()
        self.stores = [builder.store(v, p, inliner.value(v, p)) for v, p in last.stores]

    def __call__(self, point: Mapping[Expr, Expr], value: Expr) -> tuple[Stmt, ...]:
        known = {**point, self.total: value}
        stores = [
            Store(
                s.buffer,
                tuple(scalar.substitute(e, known) for e in s.index),
                scalar.substitute(s.value, known),
            )
            for s in self.stores
        ]
        return nest((), stores, {}, self.names)
