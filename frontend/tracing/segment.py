"""The end of a recording: compile what was recorded, or find it, and run it.

A `Segment` is one compiled program with what belongs to it: which tensors it makes, which storages
it writes, and how gradients flow back through it. Running one is a native call and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from smelt.base import view_of
from smelt.ir.errors import TraceError
from smelt.ir.graph import Graph
from smelt.ir.layout import Layout
from smelt.storage import Array, Storage
from smelt.tracing import boundary, replay
from smelt.tracing.build import build_graph
from smelt.tracing.kept import KeptMemory, kept_of
from smelt.tracing.nodes import TracedNode
from smelt.tracing.steps import GradEvent, InputEvent, ScalarEvent, Step

if TYPE_CHECKING:
    from smelt.hosted import HostedProgram
    from smelt.runtime.executable import Executable
    from smelt.tensor import Tensor
    from smelt.tracing.recorder import Recorder


@dataclass(frozen=True)
class Written:
    """A storage that was there before and is given new contents.

    Attributes:
        cell: number of the storage among those met.
        layout: part of it that is written, relative to the first view met.
        in_place: whether the program writes there itself; else the contents are copied over
            after it ran, because it may read other views of the storage until its end.
    """

    cell: int
    layout: Layout
    in_place: bool


@dataclass(frozen=True, eq=False)
class Segment:
    """A compiled program and how its results are delivered.

    Attributes:
        graph: what was recorded.
        end: the step that it ends at.
        native: its machine code.
        created: for each output that makes a storage, its number among those met.
        written: the storages written; their outputs come after those of `created`.
        tape: how gradients flow back through it; None if none do.
        kept: what it keeps between calls; None if nothing.
    """

    graph: Graph
    end: Step
    native: Executable | HostedProgram
    created: tuple[int, ...]
    written: tuple[Written, ...]
    tape: boundary.Boundary | None
    kept: KeptMemory | None


def finish(recorder: Recorder, name: str, graphs: list[Graph]) -> None:
    """Compile what `recorder` has recorded unless that is done, run it, and keep its promises.

    Args:
        recorder: a recording that nothing will be added to.
        name: name of the compiled function.
        graphs: takes the graph, if it is new.
    """
    recorder.let_go()
    # A storage may outlive the tensor it was made for: under a Parameter, or given to another.
    alive = {
        cell.index: storage
        for cell in recorder.cells
        if cell.created is not None and (storage := cell.created()) is not None
    }
    taped: list[Tensor] = [
        tensor
        for reference, _ in recorder.made
        if (tensor := reference()) is not None and type(tensor._node) is TracedNode
    ]
    taped += [t for t in recorder.found() if type(t._node) is TracedNode]
    key = (
        tuple(alive),
        tuple([recorder.slot(t) for t in taped]),  # as they are after the last write
        (frozenset(recorder.freed), frozenset(recorder.leaves)) if taped else None,
    )
    segment = recorder.step.ends.get(key)
    try:
        if segment is None:
            segment = _compile(recorder, name, alive, taped)
            recorder.step.ends[key] = segment
            graphs.append(segment.graph)
        _refuse_overlaps(recorder, segment)
    except BaseException as error:
        abandon(recorder, f"{type(error).__name__}: {error}")
        raise
    _run(recorder, segment, alive, taped)


def abandon(recorder: Recorder, reason: str) -> None:
    """Undo what the recording did to Python's state; its tensors stay promised for ever."""
    recorder.failure = reason
    for cell in recorder.cells:
        if cell.existing is not None and cell.existing.pending is recorder:
            cell.existing.pending = None
    recorder.restore()


def _compile(
    recorder: Recorder,
    name: str,
    alive: Mapping[int, Storage],
    taped: Sequence[Tensor],
) -> Segment:
    from smelt import driver

    created = tuple(alive)
    written = tuple(
        Written(cell.index, cell.root_layout, cell.inputs == [cell.root_layout])
        for cell in recorder.cells
        if cell.written
    )
    outputs = [recorder.cells[index].root_slot for index in created]
    outputs += [recorder.cells[w.cell].root_slot for w in written]
    tape = None
    if taped:
        tape = boundary.make(recorder, name, outputs, [t._trace.slot for t in taped])
    if tape is None:
        graph = build_graph(name, recorder.step, outputs)
        program = graph
    else:
        graph, program = tape.graph, tape.forward
    inputs = _input_layouts(recorder.step)
    donated: dict[int, int] = {}
    for k, w in enumerate(written):
        if w.in_place:
            donated[len(created) + k] = inputs.index((w.cell, w.layout))
    strides = [None if layout is None else layout.strides for _, layout in inputs]
    frozen = _frozen(recorder, inputs) if tape is None else frozenset[int]()
    native = driver.compile_graph(program, strides, donated, frozen)
    kept = kept_of(native, lambda: driver.compile_graph(program, strides, donated))
    return Segment(graph, recorder.step, native, created, written, tape, kept)


def _frozen(recorder: Recorder, inputs: Sequence[tuple[int, Layout | None]]) -> frozenset[int]:
    """Return the inputs that are likely to be the same in many calls: parameters in inference."""
    from smelt.nn.parameter import Parameter

    if any(isinstance(step.event, GradEvent) for step in recorder.step.path()):
        return frozenset()
    weights = {id(t._storage) for t in recorder.found() if isinstance(t, Parameter)}
    still = {
        cell.index
        for cell in recorder.cells
        if cell.existing is not None
        and id(cell.existing) in weights
        and not (cell.written or cell.existing.shared)
    }
    return frozenset(
        number
        for number, (bound, (cell, _)) in enumerate(zip(recorder.bound, inputs, strict=True))
        if cell in still and not isinstance(bound, Storage)
    )


def _input_layouts(end: Step) -> list[tuple[int, Layout | None]]:
    """Return storage and layout of each input of the graph, none for a number."""
    found: list[tuple[int, Layout | None]] = []
    for step in end.path():
        if isinstance(step.event, InputEvent):
            found.append((step.event.storage, step.event.layout))
        elif isinstance(step.event, ScalarEvent):
            found.append((-1, None))
    return found


def _refuse_overlaps(recorder: Recorder, segment: Segment) -> None:
    """Refuse a program that writes memory which NumPy shows to another of its storages."""
    shared = [c.existing for c in recorder.cells if c.existing is not None and c.existing.shared]
    for written in segment.written:
        target = recorder.cells[written.cell].existing
        assert target is not None, "a written cell has its storage"
        if not target.shared:
            continue
        for other in shared:
            if other is target or other.memory is None or target.memory is None:
                continue
            if np.may_share_memory(other.memory, target.memory):
                raise TraceError(
                    "a compiled function writes a tensor whose memory NumPy shares with another "
                    "tensor that it uses; make them views of one tensor, or clone() one of them"
                )


def _run(
    recorder: Recorder,
    segment: Segment,
    alive: Mapping[int, Storage],
    taped: Sequence[Tensor],
) -> None:
    # Old gradients go here, so that their memory may serve for the new ones.
    recorder.originals.clear()
    cells = recorder.cells
    for cell in cells:
        if cell.existing is not None:
            cell.existing.pending = None
    native = segment.native
    arguments = [_address_of(bound) for bound in recorder.bound]
    made: list[Array] = []
    addresses: list[int] = []
    for number in range(len(segment.created)):
        array, address = native.new_output(number)
        made.append(array)
        addresses.append(address)
    copies: list[tuple[Storage, Layout, Array | None]] = []
    for number, written in enumerate(segment.written, len(made)):
        cell = cells[written.cell]
        storage = cell.existing
        assert storage is not None, "a written cell has its storage"
        layout = cell.absolute(written.layout)
        if written.in_place:
            addresses.append(storage.address + layout.offset * storage.dtype.itemsize)
            copies.append((storage, layout, None))
        else:
            array, address = native.new_output(number)
            addresses.append(address)
            copies.append((storage, layout, array))
    kept: list[Array] = []
    for number in range(len(addresses), len(native.signature.outputs)):
        array, address = native.new_output(number)
        kept.append(array)
        addresses.append(address)
    try:
        if segment.kept is None:
            failure = native.run(arguments, addresses)
        else:
            failure = segment.kept.run(recorder.bound, arguments, addresses)
    except BaseException as error:
        # Ctrl-C: what is written in place holds anything, what is new is not there.
        for storage, _, array in copies:
            if array is None:
                storage.epoch += 1
        abandon(recorder, f"{type(error).__name__}: {error}")
        raise
    if failure is not None:
        replay.replay(recorder, segment.end)
    for index, array in zip(segment.created, made):
        alive[index].fulfil(array.reshape(-1))
    for storage, layout, array in copies:
        if array is not None:
            np.copyto(view_of(storage.array, layout), array)
        storage.epoch += 1
    if segment.tape is not None:
        segment.tape.attach(recorder, taped, kept)


def _address_of(bound: Any) -> int:
    """Return the address of the first element of an input."""
    if isinstance(bound, np.ndarray):
        return bound.__array_interface__["data"][0]
    if isinstance(bound, Storage):
        return bound.address
    return bound._storage.address + bound._layout.offset * bound.dtype.itemsize
