"""Lower a graph to a program: kernels, launches, control flow, and where everything lies.

Takes a graph of fusion groups (or of bare primitives, each a group of one), constants and control
flow. Every temporary gets memory of its own in the arena: `passes.memory_plan` lets them share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, assert_never

from smelt.codegen.lower.control import copied_row, counted
from smelt.codegen.lower.kernel import Derivation, Lowered, lower_group
from smelt.codegen.lower.naming import kernel_name
from smelt.codegen.target import Target
from smelt.ir import attributes, dtypes, registry
from smelt.ir import dim as dims
from smelt.ir.dim import Dim
from smelt.ir.errors import LoweringError
from smelt.ir.graph import Graph, Node, Value
from smelt.ir.loop.builder import Names
from smelt.ir.loop.grammar import (
    Branch,
    Buffer,
    Kernel,
    Launch,
    Place,
    Program,
    Step,
    While,
)
from smelt.ir.loop.printer import print_kernel
from smelt.ir.loop.verify import verify_program
from smelt.ir.op import Call, Lower, NoAttrs
from smelt.ir.types import Shape, TensorType, row_major_strides

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """Memory that holds a value.

    Attributes:
        place: where it is.
        strides: how the value lies there; None: row-major.
    """

    place: Place
    strides: Shape | None = None


def lower(
    graph: Graph,
    target: Target,
    *,
    input_layouts: Sequence[Shape | None] = (),
    donate: Mapping[int, int] | None = None,
    frozen: AbstractSet[int] = frozenset(),
) -> Program:
    """Lower a graph to loop IR.

    Args:
        graph: primitives, fusion groups, constants and control flow.
        target: machine that templates are chosen for.
        input_layouts: strides of each input, in elements; None (or missing): row-major.
        donate: for each output that is to be written into the storage of an input, the number of
            that input. Its output is laid out as the input is.
        frozen: numbers of the inputs that seldom change from call to call. What is derived from
            them, and is dear to derive, is kept between calls.

    Returns:
        A program in which every kernel is serial and temporaries share no memory.

    Raises:
        LoweringError: a node has no structured definition.
    """
    layouts = [*input_layouts, *([None] * (len(graph.inputs) - len(input_layouts)))]
    layouts = [
        None if layout == row_major_strides(v.type.shape) else layout
        for v, layout in zip(graph.inputs, layouts)
    ]
    donate = {} if donate is None else donate
    work = _Lowering(target, frozen - set(donate.values()))
    inputs = [Slot(Place("input", k), layout) for k, layout in enumerate(layouts)]
    outputs = [
        Slot(Place("output", k), layouts[donate[k]] if k in donate else None)
        for k in range(len(graph.outputs))
    ]
    steps = work.body(graph, inputs, outputs)
    sizes: set[str] = set()
    for value in graph.inputs:
        for extent in value.type.shape:
            sizes |= dims.symbols(extent)
    program = Program(
        name=graph.name,
        kernels=tuple(work.kernels),
        steps=tuple(steps),
        inputs=tuple(_tensor(v, s, f"in{k}") for k, (v, s) in enumerate(zip(graph.inputs, inputs))),
        outputs=tuple(
            _tensor(v, s, f"out{k}") for k, (v, s) in enumerate(zip(graph.outputs, outputs))
        ),
        constants=tuple(work.constants),
        arena_bytes=work.arena_bytes,
        sizes=tuple(sorted(sizes)),
        derive=tuple(work.derive),
        kept_bytes=work.kept_bytes,
    )
    verify_program(program)
    return program


def _tensor(value: Value, slot: Slot, name: str) -> Buffer:
    shape = value.type.shape
    strides = row_major_strides(shape) if slot.strides is None else slot.strides
    return Buffer(value.name or name, value.type.dtype, shape, strides)


class _Lowering:
    """The program in the making."""

    def __init__(self, target: Target, frozen: AbstractSet[int]) -> None:
        self.target = target
        self.frozen = frozen
        self.kernels: list[Kernel] = []
        self.constants: list[Any] = []
        self.arena_bytes: int | Dim = 0
        self.derive: dict[Launch, None] = {}
        self.kept_bytes = 0
        self._deriving: dict[str, Kernel] = {}
        self._kept: dict[tuple[str, tuple[Place, ...]], Place] = {}
        self._names = Names()
        self._lowered: dict[Any, Lowered] = {}
        self._places: dict[str, Place] = {}

    # --- memory -------------------------------------------------------------------------------

    def temporary(self, type: TensorType) -> Slot:
        """Return fresh memory for a row-major value."""
        place = Place("arena", self.arena_bytes)
        blocks = (type.nbytes + (ALIGNMENT - 1)) // ALIGNMENT
        self.arena_bytes = self.arena_bytes + blocks * ALIGNMENT
        return Slot(place)

    def constant(self, node: Node) -> Slot:
        """Return where the program keeps a constant."""
        value = node.attrs.value
        place = self._places.get(value.digest)
        if place is None:
            place = self._places[value.digest] = Place("constant", len(self.constants))
            self.constants.append(value.array)
        return Slot(place)

    def is_frozen(self, place: Place) -> bool:
        """Tell whether memory seldom changes from call to call."""
        if place.kind == "input":
            return place.index in self.frozen
        return place.kind == "constant" and bool(self.frozen)

    def shared(self, derivation: Derivation) -> Derivation:
        """Return a derivation by the kernel of the first that is like it."""
        text = print_kernel(replace(derivation.kernel, name="derive", origin=""))
        kernel = self._deriving.get(text)
        if kernel is None:
            kernel = self._deriving[text] = derivation.kernel
            self.kernels.append(kernel)
        return replace(derivation, kernel=kernel)

    def kept(self, derivation: Derivation, operands: tuple[Place, ...]) -> Place:
        """Return where that is kept which a kernel derives from operands."""
        name = derivation.kernel.name
        place = self._kept.get((name, operands))
        if place is None:
            place = self._kept[name, operands] = Place("kept", self.kept_bytes)
            nbytes = derivation.type.nbytes
            assert isinstance(nbytes, int), "what is kept has a constant size"
            self.kept_bytes += -(-nbytes // ALIGNMENT) * ALIGNMENT
            self.derive[Launch(name, (*operands, place))] = None
        return place

    # --- graphs -------------------------------------------------------------------------------

    def body(self, graph: Graph, inputs: Sequence[Slot], outputs: Sequence[Slot]) -> list[Step]:
        """Return the steps that compute `graph` from and into the given memory."""
        slots: dict[Value, Slot] = dict(zip(graph.inputs, inputs, strict=True))
        roots = _roots(graph, slots)
        wanted: dict[Value, Slot] = {}
        computed = {v for n in graph.nodes if n.op.name != "constant" for v in n.outputs}
        direct: set[int] = set()
        for position, (value, slot) in enumerate(zip(graph.outputs, outputs, strict=True)):
            root = roots.get(value, value)
            fits = root is value or slot.strides is None
            if root in computed and root not in wanted and fits:
                wanted[root] = slot
                direct.add(position)
        steps: list[Step] = []
        for node in graph.nodes:
            if len(node.outputs) == 1 and node.output in roots:
                slots[node.output] = slots[roots[node.output]]
                continue
            if node.op.name == "constant":
                slots[node.output] = self.constant(node)
                continue
            for value in node.outputs:
                slots[value] = wanted[value] if value in wanted else self.temporary(value.type)
            steps += self.node(node, slots)
        for position, (value, slot) in enumerate(zip(graph.outputs, outputs)):
            if position not in direct:
                steps.append(self.copy(value.type, slots[value], slot))
        return steps

    def node(self, node: Node, slots: Mapping[Value, Slot]) -> list[Step]:
        """Return the steps of one node, whose results have their memory."""
        operands = [slots[v] for v in node.inputs]
        results = [slots[v] for v in node.outputs]
        match node.op.rule:
            case Lower():
                region = _single(node)
                return [self.group(region, [slots[v] for v in region.inputs], results)]
            case Call(reason):
                raise LoweringError(
                    f"{node.op.name} is a call of the host ({reason}); the graph is to be split "
                    "around it before lowering"
                )
            case _:
                pass
        match node.op.name:
            case "fusion":
                return self.fusion(node, operands, results)
            case "cond":
                then, other = (self.body(r, operands[1:], results) for r in node.regions)
                return [Branch(operands[0].place, tuple(then), tuple(other))]
            case "while_loop":
                return self.while_loop(node, operands, results)
            case "scan":
                return self.scan(node, operands, results)
            case "checkpoint" | "custom_vjp":
                return self.body(node.regions[0], operands, results)
            case name:
                raise LoweringError(f"{name} is expanded by a pass before lowering")

    def fusion(self, node: Node, operands: list[Slot], results: list[Slot]) -> list[Step]:
        """Return the launch of a group; results that it only passes on are copied."""
        (region,) = node.regions
        kept: dict[Value, Slot] = {}
        copies: list[Step] = []
        for value, slot in zip(region.outputs, results):
            if value in kept or value in region.inputs:
                source = kept.get(value)
                if source is None:
                    source = operands[region.inputs.index(value)]
                copies.append(self.copy(value.type, source, slot))
            else:
                kept[value] = slot
        if not kept:
            return copies
        unique = Graph(region.name, region.inputs, region.nodes, tuple(kept))
        return [self.group(unique, operands, list(kept.values())), *copies]

    def group(
        self,
        region: Graph,
        operands: Sequence[Slot],
        results: Sequence[Slot],
    ) -> Launch:
        """Return the launch of the kernel of a group, which is lowered once for all its likes."""
        found = dict(zip(region.inputs, operands, strict=True))
        found.update(zip(region.outputs, results, strict=True))
        frozen = frozenset(v for v in region.inputs if self.is_frozen(found[v].place))
        key = _structure(region, found, frozen)
        lowered = self._lowered.get(key)
        if lowered is None:
            strides = {v: s.strides for v, s in found.items() if s.strides is not None}
            name = self._names.fresh(kernel_name(region))
            lowered = lower_group(region, strides, name, self.target, frozen)
            self.kernels.append(lowered.kernel)
            derivations = tuple(self.shared(d) for d in lowered.derivations)
            lowered = self._lowered[key] = replace(lowered, derivations=derivations)
        places: list[Place] = []
        for param in lowered.params:
            match param.kind:
                case "input":
                    places.append(found[region.inputs[param.number]].place)
                case "output":
                    places.append(found[region.outputs[param.number]].place)
                case "workspace":
                    places.append(self.temporary(param.type).place)
                case "kept":
                    derivation = lowered.derivations[param.number]
                    given = tuple(found[region.inputs[n]].place for n in derivation.inputs)
                    places.append(self.kept(derivation, given))
                case _:
                    assert_never(param.kind)
        return Launch(lowered.kernel.name, tuple(places))

    def copy(self, type: TensorType, source: Slot, target: Slot) -> Step:
        """Return the launch that copies a value."""
        operand, result = Value(type), Value(type)
        node = Node(registry.OPS["contiguous"], (operand,), NoAttrs(), (), (result,))
        return self.group(_single(node), [source], [target])

    # --- loops --------------------------------------------------------------------------------

    def launch(self, kernel: Kernel, *places: Place) -> Launch:
        """Return the launch of a kernel that was written by hand."""
        self.kernels.append(kernel)
        return Launch(kernel.name, places)

    def while_loop(self, node: Node, operands: list[Slot], results: list[Slot]) -> list[Step]:
        """Carry the state in the results' memory; the next state is copied over it."""
        test, body = node.regions
        carried = node.attrs.carried
        captured = operands[carried:]
        state_types = [v.type for v in test.inputs[:carried]]
        steps = [self.copy(t, a, b) for t, a, b in zip(state_types, operands, results)]
        flag = self.temporary(TensorType(dtypes.bool_, ()))
        tested = self.body(test, [*results, *captured], [flag])
        following = [self.temporary(t) for t in state_types]
        advanced = self.body(body, [*results, *captured], following)
        advanced += [self.copy(t, a, b) for t, a, b in zip(state_types, following, results)]
        return [*steps, While(tuple(tested), flag.place, tuple(advanced))]

    def scan(self, node: Node, operands: list[Slot], results: list[Slot]) -> list[Step]:
        """Count steps in the arena; rows are copied out of and into the sequences."""
        (body,) = node.regions
        carried, scanned = node.attrs.carried, node.attrs.scanned
        length = node.attrs.length
        types = [v.type for v in body.inputs]
        state = results[:carried]
        steps = [self.copy(t, a, b) for t, a, b in zip(types, operands, state)]
        counter = self.temporary(TensorType(dtypes.int64, ()))
        flag = self.temporary(TensorType(dtypes.bool_, ()))
        names = self._names
        steps.append(
            self.launch(counted(names.fresh("scan_begin"), length, 0), counter.place, flag.place)
        )
        rows: list[Slot] = []
        each: list[Step] = []
        for type, source in zip(types[carried:], operands[carried : carried + scanned]):
            row = self.temporary(type)
            kernel = copied_row(names.fresh("scan_read"), type, length, source.strides, True)
            each.append(self.launch(kernel, source.place, row.place, counter.place))
            rows.append(row)
        outputs = [self.temporary(v.type) for v in body.outputs]
        each += self.body(body, [*state, *rows, *operands[carried + scanned :]], outputs)
        for type, row, sequence in zip(
            [v.type for v in body.outputs[carried:]], outputs[carried:], results[carried:]
        ):
            kernel = copied_row(names.fresh("scan_write"), type, length, sequence.strides, False)
            each.append(self.launch(kernel, sequence.place, row.place, counter.place))
        each += [self.copy(t, a, b) for t, a, b in zip(types, outputs, state)]
        each.append(
            self.launch(counted(names.fresh("scan_next"), length, 1), counter.place, flag.place)
        )
        return [*steps, While((), flag.place, tuple(each))]


def _roots(graph: Graph, slots: Mapping[Value, Slot]) -> dict[Value, Value]:
    """Return, for each value that is another one's memory in another shape, that other one."""
    roots: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.op.name in ("reshape", "detach", "contiguous"):
            root = roots.get(node.inputs[0], node.inputs[0])
            slot = slots.get(root)
            if slot is None or slot.strides is None:
                roots[node.output] = root
    return roots


def _single(node: Node) -> Graph:
    """Return the graph of a group of one."""
    inputs = tuple(dict.fromkeys(node.inputs))
    return Graph(node.op.name, inputs, (node,), node.outputs)


def _structure(region: Graph, slots: Mapping[Value, Slot], frozen: frozenset[Value]) -> Any:
    """Return a key that two groups share exactly when one kernel serves both."""
    numbers = {v: n for n, v in enumerate(region.values())}
    nodes = tuple(
        (node.op.name, attributes.key(node.attrs), tuple(numbers[v] for v in node.inputs))
        for node in region.nodes
    )
    edges = tuple((v.type, slots[v].strides) for v in (*region.inputs, *region.outputs))
    return (
        nodes,
        edges,
        tuple(numbers[v] for v in region.outputs),
        frozenset(numbers[v] for v in frozen),
    )
