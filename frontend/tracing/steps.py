"""The tree of recorded programs.

Every compiled function owns a tree. A call walks down from its root, one step for each event that
it records, and creates the steps that it is the first to take. Two calls that arrive at the same
step have recorded the same structure, so types, derivatives and compiled code hang on the steps,
and recording what is known already costs one look-up for each operation.

A slot is the number of a value: inputs and results are numbered together, in the order recorded.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from smelt.ir.graph import Location
from smelt.ir.layout import Layout
from smelt.ir.op import OpDef
from smelt.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Result:
    """A value that a step gives.

    Attributes:
        type: its element type and shape.
        layout: where it lies in the storage that holds it.
        is_view: whether that is the storage of the step's first operand.
        requires_grad: whether gradients flow through it.
    """

    type: TensorType
    layout: Layout
    is_view: bool = False
    requires_grad: bool = False


@dataclass(frozen=True, slots=True)
class InputEvent:
    """A tensor that was not created here was met.

    Attributes:
        storage: number of its storage among those met.
        layout: sizes and strides; the offset counts only once the storage is met again.
        requires_grad: whether it does.
        is_leaf: whether its gradient accumulates in it.
        flat: whether this is the whole storage, as one dimension.
    """

    storage: int
    layout: Layout
    requires_grad: bool
    is_leaf: bool
    flat: bool = False


@dataclass(frozen=True, slots=True)
class ScalarEvent:
    """A number of Python's met a tensor and may differ in the next call: a 0-d input."""


@dataclass(frozen=True, slots=True)
class OpEvent:
    """An operation was applied.

    Attributes:
        op: its definition.
        attrs: its attributes.
        inputs: slots of its operands.
        differentiable: whether gradients flow from its results to its operands.
        location: the user's line.
    """

    op: OpDef
    attrs: Any
    inputs: tuple[int, ...]
    differentiable: bool
    location: Location | None


@dataclass(frozen=True, slots=True)
class GradEvent:
    """Gradients were asked for.

    Attributes:
        outputs: slots differentiated.
        cotangents: one slot for each of them.
        wrt: slots differentiated with respect to.
        create_graph: whether the results can be differentiated again.
        saving: slots of the operations passed whose derivative needs saved values.
        location: the user's line.
    """

    outputs: tuple[int, ...]
    cotangents: tuple[int, ...]
    wrt: tuple[int, ...]
    create_graph: bool
    saving: frozenset[int]
    location: Location | None


@dataclass(frozen=True, slots=True)
class WriteEvent:
    """A storage was given new contents.

    Attributes:
        storage: number of the storage among those met.
        slot: slot of its contents.
        layout: part of the storage that they cover.
    """

    storage: int
    slot: int
    layout: Layout


Event = InputEvent | ScalarEvent | OpEvent | GradEvent | WriteEvent


@dataclass(slots=True, eq=False)
class Step:
    """One event, what it gives, and the steps that were taken after it.

    Attributes:
        parent: the step before; None for the root.
        event: what was recorded; None for the root.
        first_slot: slot of the first result.
        results: what the event gives.
        edges: steps that follow, by the key of their event.
        ends: compiled segments that end here, by the key of what is alive.
    """

    parent: Step | None
    event: Event | None
    first_slot: int
    results: tuple[Result, ...]
    edges: dict[Hashable, Step] = field(default_factory=dict)
    ends: dict[Hashable, Any] = field(default_factory=dict)

    def path(self) -> list[Step]:
        """Return the steps from the first event to this one."""
        steps: list[Step] = []
        step = self
        while step.parent is not None:
            steps.append(step)
            step = step.parent
        steps.reverse()
        return steps


def root() -> Step:
    """Return the root of a new tree."""
    return Step(None, None, 0, ())


def exact(attrs: Any) -> Hashable:
    """Return a key of attributes that keeps apart equal numbers: 1, 1.0 and True; 0.0 and -0.0."""
    cls = type(attrs)
    if not _has_numbers(cls):
        return attrs
    return (cls, tuple([_exact(getattr(attrs, name)) for name in cls.__dataclass_fields__]))


@cache
def _has_numbers(cls: type) -> bool:
    return any(
        word in str(f.type)
        for f in cls.__dataclass_fields__.values()  # type: ignore[attr-defined]
        for word in ("float", "Scalar", "Any", "object", "ConstantValue")
    )


def _exact(value: Any) -> Hashable:
    if type(value) is float:
        return (float, value.hex())
    if type(value) is tuple:
        return tuple([_exact(v) for v in value])
    return (type(value), value)
