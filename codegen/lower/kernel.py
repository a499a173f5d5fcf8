"""Lower a fusion group to one kernel of serial loops.

Takes the graph of a group and the layouts of its inputs; gives a `Kernel` in which

- the outer axes are loops around everything (for a group without reductions, all axes are);
- each stage is a nest of loops that accumulates reductions and stores results;
- a contraction that is worth it is the template's, with the group around it in its holes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from smelt.codegen.lower.builder import (
    KernelBuilder,
    Param,
    Segment,
    StageDraft,
    folded,
    symbols_of,
)
from smelt.codegen.lower.contraction import contracted
from smelt.codegen.lower.nest import Item, Loop, nest
from smelt.codegen.lower.partial import in_parts, with_parts
from smelt.codegen.lower.split import with_split_axes
from smelt.codegen.schedule.analysis import accesses
from smelt.codegen.schedule.keep import Kept
from smelt.codegen.target import Target
from smelt.ir.errors import LoweringError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.group import Group
from smelt.ir.group_planner import plan
from smelt.ir.loop.builder import for_nest
from smelt.ir.loop.grammar import Buffer, Kernel, Stmt
from smelt.ir.primitive import definition
from smelt.ir.structured import Nest, Stage
from smelt.ir.types import Shape, TensorType, row_major_strides


@dataclass(frozen=True)
class Derivation:
    """A kernel that fills memory from inputs that seldom change.

    Attributes:
        kernel: the kernel; that memory is its last parameter.
        inputs: numbers of the group's inputs that the other parameters hold.
        type: type of the memory.
    """

    kernel: Kernel
    inputs: tuple[int, ...]
    type: TensorType


@dataclass(frozen=True)
class Lowered:
    """A kernel and what its parameters hold.

    Attributes:
        kernel: the kernel.
        params: what each of its parameters holds.
        derivations: what fills the memory of its parameters of the kind "kept".
    """

    kernel: Kernel
    params: tuple[Param, ...]
    derivations: tuple[Derivation, ...] = ()


def lower_group(
    region: Graph,
    strides: Mapping[Value, Shape],
    name: str,
    target: Target,
    frozen: frozenset[Value] = frozenset(),
) -> Lowered:
    """Lower the graph of a fusion group.

    Args:
        region: primitives; inputs and outputs become the parameters, in that order, without
            repetition.
        strides: of inputs and outputs that are not row-major.
        name: name of the kernel.
        target: machine that templates are shaped for.
        frozen: inputs that seldom change, so that what is derived from them alone may be kept.

    Raises:
        LoweringError: the nodes do not make a group; the message says why.
    """
    group = plan(region.nodes, region.outputs)
    if isinstance(group, str):
        raise LoweringError(f"{name}: {group}")
    if group.contraction is None:
        group = with_split_axes(group)
    parts = None if _is_precise(group) else with_parts(group, target)
    if parts is not None:
        group = parts[0]
    builder = KernelBuilder(region, group, strides)
    kept: tuple[Kept, ...] = ()
    if group.nest is not None:
        body = _own_nest(builder, group.nest)
    elif group.contraction is not None:
        product = contracted(builder, target, frozen)
        body, kept = product.body, product.kept
    elif parts is not None:
        body = in_parts(builder, parts[1])
    elif any(s.reductions for s in group.stages):
        body = _staged(builder)
    else:
        body = _pointwise(builder)
    location = next((n.location for n in region.nodes if n.location is not None), None)
    kernel = Kernel(
        name=name,
        params=(*builder.params.values(), *(k.buffer for k in kept)),
        body=body,
        sizes=tuple(sorted(symbols_of(region))),
        written=frozenset(builder.written),
        precise=_is_precise(group),
        origin="" if location is None else str(location),
    )
    derivations = tuple(_derivation(builder, k, kernel) for k in kept)
    own = (builder.role(v) for v in builder.params)
    others = (Param("kept", n, d.type) for n, d in enumerate(derivations))
    return Lowered(kernel, (*own, *others), derivations)


def _derivation(builder: KernelBuilder, kept: Kept, kernel: Kernel) -> Derivation:
    """Return the kernel that packs a factor of `kernel` ahead."""
    read = {access.buffer for access in accesses(kept.body) if not access.writes}
    inputs = [n for n, v in enumerate(builder.region.inputs) if builder.params[v] in read]
    params = [builder.params[builder.region.inputs[n]] for n in inputs]
    buffer = kept.buffer
    packing = Kernel(
        name=f"{kernel.name}_{buffer.name}",
        params=(*params, buffer),
        body=kept.body,
        sizes=kernel.sizes,
        written=frozenset({buffer.name}),
        precise=kernel.precise,
        origin=kernel.origin,
    )
    return Derivation(packing, tuple(inputs), TensorType(buffer.dtype, buffer.shape))


def _own_nest(builder: KernelBuilder, node: Node) -> tuple[Stmt, ...]:
    """Return the statements of a node that brings its own loops."""
    found = definition(node)
    assert isinstance(found, Nest), f"{node.op.name} is a stage"
    for value in dict.fromkeys((*node.inputs, *node.outputs)):
        if value in builder.params:
            old = builder.params[value]
            strides = builder.strides_of(value)
            builder.params[value] = Buffer(old.name, old.dtype, value.type.shape, strides)
    outputs: list[Buffer] = []
    for number, value in enumerate(node.outputs):
        if value not in builder.params:
            # A result that nobody reads is still written by the nest.
            builder.params[value] = Buffer(
                builder.names.fresh(f"unused{number}"), value.type.dtype, value.type.shape,
                row_major_strides(value.type.shape),
            )  # fmt: skip
        outputs.append(builder.params[value])
    builder.written |= {b.name for b in outputs}
    return found.build(tuple(builder.params[v] for v in node.inputs), tuple(outputs))


def _pointwise(builder: KernelBuilder) -> tuple[Stmt, ...]:
    """Return one nest for each stage of a group without reductions."""
    group = builder.group
    body: list[Stmt] = []
    for found in group.stages:
        # Each stage has outer loops of its own here, so these need names of their own too.
        stage = builder.entering(replace(found, axes=(*group.outer, *found.axes)))
        inliner = builder.inliner()
        items: list[Item] = [
            builder.store(v, point, inliner.value(v, point)) for v, point in stage.stores
        ]
        loops: list[Loop] = [(a, builder.extent(a)) for a in stage.axes]
        body += nest(loops, [*inliner.checks, *items], inliner.bound, builder.names)
    return tuple(body)


def _staged(builder: KernelBuilder) -> tuple[Stmt, ...]:
    """Return the outer loops around the stages of a group with reductions."""
    group = builder.group
    segments: list[Segment] = []
    places: list[tuple[int, StageDraft]] = []
    for found in group.stages:
        stage = builder.entering(found)
        for reduction in stage.reductions:
            segments += builder.begin(reduction)
        places.append((len(segments), builder.evaluate(stage)))
        segments.append(Segment())
        for reduction in stage.reductions:
            segments += builder.end(reduction)
    rows: list[Segment] = []
    for place, draft in places:
        rows += [Segment(alloc=row) for row in draft.rows.values()]
        loops: list[Loop] = [(a, builder.extent(a)) for a in draft.stage.axes]
        items = [*draft.inliner.checks, *draft.items]
        segments[place] = Segment(stmts=nest(loops, items, draft.inliner.bound, builder.names))
    axes = [(a, group.extents[a]) for a in group.outer]
    return for_nest(axes, folded([*rows, *segments]))


def _is_precise(group: Group) -> bool:
    """Tell whether the order of some sum matters; nothing but sums is ever contracted."""
    found = (definition(n) for n in group.nodes)
    return any(isinstance(s, Stage) and s.reduce_axes and not s.reassociate for s in found)
