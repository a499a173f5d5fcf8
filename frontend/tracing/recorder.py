"""The tracer: meets every operation while a compiled function's Python runs, and records it.

Takes what comes through the door (`dispatch.apply`, `dispatch.write`, gradients, random draws) and
gives tensors whose elements are promised. What was recorded before is found in the tree of steps
by one look-up; only what is new is inferred, located and added to the tree.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from smelt.autograd.tape import requires
from smelt.base import TensorBase, wrap_storage
from smelt.ir import dtypes
from smelt.ir.dtypes import DType
from smelt.ir.errors import TraceError
from smelt.ir.layout import Layout, row_major
from smelt.ir.op import OpDef, Vjp
from smelt.ir.registry import OPS
from smelt.ir.types import TensorType
from smelt.signature import Signature
from smelt.state import mode
from smelt.storage import Array, Storage
from smelt.tracing import callsite, gradients, writes
from smelt.tracing.cells import Cell, Handle
from smelt.tracing.nodes import TracedNode
from smelt.tracing.steps import (
    Event,
    InputEvent,
    OpEvent,
    Result,
    ScalarEvent,
    Step,
    exact,
)

if TYPE_CHECKING:
    from smelt.ir.graph import Graph
    from smelt.random import Generator
    from smelt.tensor import Tensor

_serials = itertools.count(1)
_INPUT, _FLAT, _SCALAR = "input", "flat", "scalar"


class Recorder:
    """One recording: a walk down the tree of a compiled function.

    Attributes:
        serial: number that tells the handles of this recording from those of others.
        step: where the walk stands.
        slots: number of values so far.
        bound: what fills each input of the graph, in the order of their slots: the elements of a
            tensor as they were found, a storage taken whole, or a number as a 0-d array.
        met: weak references to the tensors that were there before and are inputs.
        cells: every storage met, in order.
        made: weak references to the tensors created, with their cells.
        leaves: slot of each leaf that requires grad, at each time that it was read.
        freed: slots whose saved values a backward pass has let go.
        undo: what puts Python's state back if nothing of this recording can run.
        originals: tensors that were given other storage or gradients, with their state before.
        failure: why it cannot run, once that is known.
    """

    def __init__(self, root: Step) -> None:
        self.serial = next(_serials)
        self.step = root
        self.slots = 0
        self.bound: list[TensorBase | Storage | Array] = []
        self.met: list[weakref.ref[TensorBase]] = []
        self.cells: list[Cell] = []
        self.made: list[tuple[weakref.ref[Tensor], Cell]] = []
        self.leaves: dict[int, Tensor] = {}
        self.freed: set[int] = set()
        self.undo: list[Callable[[], None]] = []
        self.originals: dict[int, tuple[TensorBase, dict[str, Any]]] = {}
        self.failure: str | None = None
        self._by_storage: dict[int, Cell] = {}
        self._seeds: dict[int, Tensor] = {}

    # -- operations ---------------------------------------------------------------------------

    def record(
        self,
        op: OpDef,
        inputs: tuple[Tensor, ...],
        attrs: Any,
        regions: tuple[Graph, ...] = (),
    ) -> Any:
        """Append an operation; gives its result, or a tuple if the op is defined with several."""
        if regions:
            self.refuse(f"{op.name} with regions of its own", "call it outside of the function")
        slots: list[int] = []
        serial = self.serial
        wanted = False
        for x in inputs:
            handle = x._trace
            if (
                handle is not None
                and handle.recorder == serial
                and handle.version == handle.cell.version
            ):
                slot = handle.slot
            else:
                slot = self.slot(x)
            slots.append(slot)
            if x._requires_grad:
                wanted = True
                if x._node is None:
                    self.leaves[slot] = x
                    x._trace.cell.gradual = True
        wanted = wanted and mode.grad
        key: tuple[Hashable, ...]
        if op.view is not None:
            key = (op, exact(attrs), slots[0], wanted, inputs[0]._trace.layout)
        else:
            key = (op, exact(attrs), wanted, *slots)
        step = self.step.edges.get(key)
        if step is None:
            step = self._new_operation(key, op, inputs, attrs, tuple(slots), wanted)
        self.step = step
        slot = self.slots
        results = step.results
        self.slots = slot + len(results)
        if len(results) == 1 and op.results == ("out",):
            result = results[0]
            if result.is_view:
                return self._view(inputs[0], result, slot, op)
            return self.create(result, slot, op.name)
        return tuple([self.create(r, slot + k, op.name) for k, r in enumerate(results)])

    def _new_operation(
        self,
        key: Hashable,
        op: OpDef,
        inputs: Sequence[TensorBase],
        attrs: Any,
        slots: tuple[int, ...],
        wanted: bool,
    ) -> Step:
        types = tuple([TensorType(x.dtype, tuple(x._sizes)) for x in inputs])
        signature = Signature.of(op, types, attrs)
        layout = None
        if op.view is not None:
            layout = op.view(attrs, inputs[0]._trace.layout)
        gradual = wanted and signature.differentiable
        results = tuple(
            Result(
                type,
                row_major(type.shape) if layout is None else layout,  # type: ignore[arg-type]
                layout is not None,
                gradual and type.dtype.kind in (dtypes.Kind.FLOAT, dtypes.Kind.COMPLEX),
            )
            for type in signature.outputs
        )
        event = OpEvent(op, attrs, slots, gradual, callsite.location())
        return self._extend(key, event, results)

    def _extend(self, key: Hashable, event: Event, results: tuple[Result, ...]) -> Step:
        step = Step(self.step, event, self.slots, results)
        self.step.edges[key] = step
        return step

    def follow(self, key: Hashable, make: Callable[[], tuple[Event, tuple[Result, ...]]]) -> int:
        """Take the step of `key`, making it if it is new; return its first slot."""
        step = self.step.edges.get(key)
        if step is None:
            step = self._extend(key, *make())
        self.step = step
        slot = self.slots
        self.slots += len(step.results)
        return slot

    def create(self, result: Result, slot: int, label: str) -> Tensor:
        """Return a tensor with storage of its own for a result."""
        dtype = result.type.dtype
        layout = result.layout
        storage = Storage.promised(dtype, layout.size, self)
        cell = Cell(len(self.cells), slot, layout)
        cell.created = weakref.ref(storage)
        self.cells.append(cell)
        tensor = wrap_storage(storage, layout)
        tensor._trace = Handle(self.serial, cell, slot, layout)
        if result.requires_grad:
            cell.gradual = cell.taped = True
            tensor._requires_grad = True
            tensor._node = TracedNode(label)
        self.made.append((weakref.ref(tensor), cell))
        return tensor

    def _view(self, source: Tensor, result: Result, slot: int, op: OpDef) -> Tensor:
        handle = source._trace
        cell = handle.cell
        layout = result.layout
        tensor = wrap_storage(
            source._storage, cell.absolute(layout), version=source._version_counter
        )
        apart = handle.apart or op.name == "detach"
        tensor._trace = Handle(self.serial, cell, slot, layout, apart)
        if not apart:
            leaf = source._requires_grad and source._node is None
            tensor._trace.of_leaf = leaf or handle.of_leaf
        if result.requires_grad or not cell.gradual:
            cell.views[layout] = slot
        if result.requires_grad:
            tensor._requires_grad = True
            tensor._node = TracedNode(op.name)
        self.made.append((weakref.ref(tensor), cell))
        return tensor

    # -- tensors ------------------------------------------------------------------------------

    def slot(self, tensor: TensorBase) -> int:
        """Return the slot of a tensor's current value, recording what is needed to have it."""
        handle = tensor._trace
        if handle is not None and handle.recorder == self.serial:
            cell = handle.cell
            if handle.version == cell.version:
                return handle.slot
            layout = handle.layout
        else:
            storage = tensor._storage
            found = self._by_storage.get(id(storage))
            if found is None and storage.pending is self:
                found = self._cell_of_created(storage)
            elif storage.pending is not None and storage.pending is not self:
                storage.pending.require("it is read by a compiled function")
            if found is None:
                return self._input(tensor, storage)
            cell = found
            layout = cell.relative(tensor._layout)
            handle = None
        slot = cell.views.get(layout)
        if slot is None:
            slot = self._derive(tensor, cell, layout)
        known = handle is not None
        apart = handle.apart if known else cell.family is not tensor._version_counter
        if cell.gradual and ((apart and cell.taped) or not requires(tensor)):
            slot = self.raw("detach", (slot,))
        if handle is None:
            tensor._trace = Handle(self.serial, cell, slot, layout, apart)
            self.met.append(weakref.ref(tensor))
        else:
            handle.slot = slot
            handle.version = cell.version
        return slot

    def _cell_of_created(self, storage: Storage) -> Cell | None:
        """Return the cell of a storage created here, met through a tensor made around it."""
        for cell in self.cells:
            if cell.created is not None and cell.created() is storage:
                return cell
        return None

    def _input(self, tensor: TensorBase, storage: Storage) -> int:
        """Bind a tensor of a storage that was not met before."""
        absolute = tensor._layout
        cell = Cell(len(self.cells), self.slots, Layout(0, absolute.sizes, absolute.strides))
        cell.existing = storage
        cell.base = absolute.offset
        cell.family = tensor._version_counter
        slot = self._bind(tensor, cell, cell.root_layout)
        self.cells.append(cell)
        self._by_storage[id(storage)] = cell
        tensor._trace = Handle(self.serial, cell, slot, cell.root_layout)
        self.met.append(weakref.ref(tensor))
        return slot

    def _bind(self, tensor: TensorBase, cell: Cell, layout: Layout) -> int:
        requires_grad = requires(tensor)
        is_leaf = tensor._node is None
        key = (_INPUT, tensor.dtype, cell.index, layout, requires_grad, is_leaf)

        def make() -> tuple[Event, tuple[Result, ...]]:
            type = TensorType(tensor.dtype, layout.sizes)
            event = InputEvent(cell.index, layout, requires_grad, is_leaf)
            return event, (Result(type, layout, requires_grad=requires_grad),)

        slot = self.follow(key, make)
        # The tensor itself may be given another storage or layout before the program runs.
        found = wrap_storage(
            tensor._storage, tensor._layout, tensor._array, tensor._version_counter
        )
        found._trace = Handle(self.serial, cell, slot, layout)
        self.bound.append(found)
        cell.inputs.append(layout)
        if requires_grad:
            cell.gradual = True
            cell.taped = cell.taped or not is_leaf
            self.leaves[slot] = tensor  # type: ignore[assignment]
        return slot

    def _derive(self, tensor: TensorBase, cell: Cell, layout: Layout) -> int:
        """Return the slot of a view of a cell whose value is not known at its version."""
        if cell.existing is not None and cell.version == 0 and tensor._trace is None:
            slot = self._bind(tensor, cell, layout)
        else:
            slot = self.strided(self.flatten(cell), cell, layout)
        cell.views[layout] = slot
        return slot

    def flatten(self, cell: Cell) -> int:
        """Return the slot of the whole storage as one dimension."""
        whole = cell.whole()
        slot = cell.views.get(whole)
        if slot is not None:
            return slot
        if cell.existing is None:
            slot = self.raw("reshape", (cell.root_slot,), shape=whole.sizes)
        else:
            slot = self._bind_whole(cell, cell.existing)
            if cell.version > 0:
                slot = self.scatter(slot, cell.root_slot, cell, cell.root_layout)
        cell.views[whole] = slot
        return slot

    def _bind_whole(self, cell: Cell, storage: Storage) -> int:
        whole = cell.whole()
        key = (_FLAT, cell.index, whole)

        def make() -> tuple[Event, tuple[Result, ...]]:
            type = TensorType(storage.dtype, whole.sizes)
            return InputEvent(cell.index, whole, False, True, True), (Result(type, whole),)

        self.bound.append(storage)
        cell.inputs.append(whole)
        return self.follow(key, make)

    def strided(self, slot: int, cell: Cell, layout: Layout) -> int:
        if layout == cell.whole():
            return slot
        offset = layout.offset + cell.base
        if offset == 0 and layout.is_contiguous and layout.size == cell.size:
            return self.raw("reshape", (slot,), shape=layout.sizes)
        return self.raw(
            "as_strided", (slot,), sizes=layout.sizes, strides=layout.strides, offset=offset
        )

    def scatter(self, slot: int, value: int, cell: Cell, layout: Layout) -> int:
        offset = layout.offset + cell.base
        if offset == 0 and layout.is_contiguous and layout.size == cell.size:
            # All of it is overwritten, so that nothing depends on what was there.
            return self.raw("reshape", (value,), shape=(cell.size,))
        return self.raw(
            "as_strided_scatter",
            (slot, value),
            sizes=layout.sizes,
            strides=layout.strides,
            offset=offset,
        )

    def raw(self, name: str, slots: tuple[int, ...], **attributes: Any) -> int:
        """Append an operation on slots that no tensor of the user's stands for."""
        op = OPS[name]
        attrs = op.attrs(**attributes)
        key = (op, exact(attrs), "slots", *slots)

        def make() -> tuple[Event, tuple[Result, ...]]:
            known = gradients.results_of(self.step)
            sources = [known[s] for s in slots]
            outputs = op.infer(attrs, *[s.type for s in sources])
            wanted = isinstance(op.vjp, Vjp) and any(s.requires_grad for s in sources)
            results = tuple(
                Result(t, row_major(t.shape), requires_grad=wanted)  # type: ignore[arg-type]
                for t in outputs
            )
            return OpEvent(op, attrs, slots, wanted, callsite.location()), results

        return self.follow(key, make)

    # -- mutation -----------------------------------------------------------------------------

    def write(self, target: Tensor, value: Tensor) -> None:
        """Append the overwriting of `target` by `value`, which has its shape and dtype."""
        writes.write(self, target, value)

    def preserve(self, tensor: TensorBase) -> None:
        """Keep the state of a tensor that is about to change, unless it was created here."""
        storage = tensor._own_storage
        if id(tensor) in self.originals or (storage is not None and storage.memory is None):
            return
        state = {k: v for k, v in tensor.__dict__.items() if k[0] == "_" or k == "dtype"}
        self.originals[id(tensor)] = (tensor, state)

    def restore(self) -> None:
        """Put back what Python's state was before this recording."""
        for restore in reversed(self.undo):
            restore()
        for tensor, state in self.originals.values():
            for name in [k for k in tensor.__dict__ if k[0] == "_"]:
                del tensor.__dict__[name]
            tensor.__dict__.update(state)
        self.undo.clear()
        self.originals.clear()

    # -- numbers, random state, gradients -----------------------------------------------------

    def scalar(self, value: bool | int | float | complex, dtype: DType) -> Tensor:
        """Return a Python number as a 0-d tensor: a constant if it is a literal of the user's."""
        if not isinstance(value, complex) and callsite.is_literal(value):
            op = OPS["full"]
            return self.record(op, (), op.attrs(value=value, dtype=dtype, shape=()))
        return self.scalar_input(value, dtype)

    def scalar_input(self, value: bool | int | float | complex, dtype: DType) -> Tensor:
        """Return a Python number as a 0-d tensor that is an input of the program."""
        result = Result(TensorType(dtype, ()), row_major(()))
        slot = self.follow((_SCALAR, dtype), lambda: (ScalarEvent(), (result,)))
        self.bound.append(np.array(value).astype(dtype.numpy))
        return self.create(result, slot, _SCALAR)

    def random_state(self, generator: Generator, words: int) -> tuple[Tensor, Tensor]:
        """Return seed and offset (0-d int64) of the next draw, and advance the generator."""
        if id(generator) not in self._seeds:
            before = generator.get_state()
            self.undo.append(lambda: _restore(generator, before))
        seed, offset = generator.draw(words)
        seed_tensor = self._seeds.get(id(generator))
        if seed_tensor is None:
            seed_tensor = self.scalar_input(seed, dtypes.int64)
            self._seeds[id(generator)] = seed_tensor
        return seed_tensor, self.scalar_input(offset, dtypes.int64)

    def backward(
        self,
        outputs: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
        inputs: Sequence[Tensor] | None,
        *,
        retain_graph: bool,
        create_graph: bool,
        accumulate: bool,
        allow_unused: bool,
    ) -> tuple[Tensor | None, ...]:
        """Append the gradients of `outputs`; see `dispatch.Tracer`."""
        return gradients.backward(
            self,
            outputs,
            cotangents,
            inputs,
            retain_graph=retain_graph,
            create_graph=create_graph,
            accumulate=accumulate,
            allow_unused=allow_unused,
        )

    def call_function(self, function: type[Any], args: tuple[Any, ...]) -> NoReturn:
        """Refuse an `autograd.Function`, whose backward pass would have to be a region."""
        self.refuse(
            f"{function.__name__}.apply has a backward pass of its own, which capture does not "
            "record yet",
            "call it outside of the compiled function",
        )

    def found(self) -> list[Tensor]:
        """Return the tensors of `met` that are still there."""
        return [t for reference in self.met if (t := reference()) is not None]  # type: ignore[misc]

    def let_go(self) -> None:
        """Drop the tensors that the recording held for its own use."""
        self._seeds.clear()

    # -- values that Python wants -------------------------------------------------------------

    def read(self, tensor: TensorBase, reason: str) -> Array:
        """Return the elements of a tensor that the recording has not touched; refuse others."""
        storage = tensor._own_storage
        if storage is None or storage.pending is None:
            # Known before: Python runs on every call, so what it does with the value is recorded.
            return tensor._values()
        self.require(reason)

    def require(self, reason: str) -> NoReturn:
        """Refuse to give elements that the recording has only promised."""
        if self.failure is not None:
            raise TraceError(
                f"{reason}, but the compiled call that makes it failed: {self.failure}"
            )
        self.refuse(
            f"a value computed in a compiled function is needed in Python ({reason})",
            "return the tensor and read it after the call, or use smelt.where",
        )

    def refuse(self, what: str, remedy: str) -> NoReturn:
        """Raise the `TraceError` of something that capture cannot record."""
        raise TraceError(f"{callsite.location()}: {what}; {remedy}")


def _restore(generator: Generator, state: Any) -> None:
    generator.set_state(state)
