"""Repeat a recording by references, when data made its native run fail.

The native program has then written nothing of the caller's. Repeating the operations one by one has
eager's effects up to the one at fault, and raises eager's exception there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from smelt.base import view_of
from smelt.ir.differentiate import differentiate
from smelt.ir.errors import InternalError
from smelt.ir.evaluate import NUMPY_RULES, evaluate
from smelt.ir.graph import Node, Value
from smelt.storage import Array, Storage
from smelt.tracing.build import build_values
from smelt.tracing.steps import Step, WriteEvent

if TYPE_CHECKING:
    from smelt.tracing.recorder import Recorder


def replay(recorder: Recorder, end: Step) -> NoReturn:
    """Run the recording by references up to the operation at fault, and raise its exception.

    Raises:
        InternalError: no operation is at fault, though the native program said so.
    """
    builder, values = build_values("replay", end)
    arrays: dict[Value, Array] = {}
    inputs = [v for v in builder.values() if v in set(values)][: len(recorder.bound)]
    for value, bound in zip(inputs, recorder.bound):
        arrays[value] = _copy_of(bound)
    writes = [step for step in end.path() if isinstance(step.event, WriteEvent)]
    nodes = list(builder.nodes)
    done = 0
    try:
        for node in nodes:
            for value, array in zip(node.outputs, _evaluate(node, nodes, arrays)):
                arrays[value] = array
            while done < len(writes) and _write(recorder, writes[done], values, arrays):
                done += 1
    except InternalError:
        raise
    except Exception:
        _deliver(recorder, values, arrays)
        raise
    raise InternalError(
        f"the native program of {end.event} reports bad data, but its references find none; "
        "please send the folder that SMELT_DUMP=folder leaves"
    )


def _evaluate(node: Node, nodes: list[Node], arrays: dict[Value, Array]) -> tuple[Any, ...]:
    operands = tuple(arrays[v] for v in node.inputs)
    if node.op.name != "grad":
        return evaluate(node.op, node.attrs, operands, node.regions)
    count = node.attrs.outputs
    before = nodes[: nodes.index(node)]
    return differentiate(
        NUMPY_RULES,
        before,
        arrays,
        node.inputs[:count],
        operands[count : 2 * count],
        node.inputs[2 * count :],
    )


def _write(recorder: Recorder, step: Step, values: list[Value], arrays: dict[Value, Array]) -> bool:
    """Carry out a write if its contents are known by now."""
    event = step.event
    assert isinstance(event, WriteEvent), "a step that writes"
    array = arrays.get(values[event.slot])
    if array is None:
        return False
    cell = recorder.cells[event.storage]
    if cell.existing is not None:
        target = view_of(cell.existing.array, cell.absolute(event.layout))
        np.copyto(target, array.reshape(target.shape))
        cell.existing.epoch += 1
    return True


def _deliver(recorder: Recorder, values: list[Value], arrays: dict[Value, Array]) -> None:
    """Keep the promises whose values were reached; the others fail when they are read."""
    recorder.failure = "its data was at fault"
    for _, cell in recorder.made:
        storage = None if cell.created is None else cell.created()
        if storage is None or storage.memory is not None:
            continue
        array = arrays.get(values[cell.root_slot])
        if array is not None:
            storage.fulfil(np.array(array, order="C").reshape(-1))


def _copy_of(bound: Any) -> Array:
    if isinstance(bound, np.ndarray):
        return bound
    if isinstance(bound, Storage):
        return bound.array.copy()
    return bound._values().copy()
