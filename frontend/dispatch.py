"""The one door: every operation on tensors goes through `apply`, every mutation through `write`.

Eagerly an operation is the op's reference on NumPy arrays, plus a node on the tape where gradients
are wanted. While a tracer is active the same call is handed to it. Operands are strict:
broadcasting and promotion have happened (functions/operands.py), so the rules of `ir` hold as they
are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from smelt.autograd import tape
from smelt.base import TensorBase, view_of, wrap, wrap_storage
from smelt.ir import promotion
from smelt.ir.dtypes import DType, Kind
from smelt.ir.errors import (
    DTypeError,
    IndexRangeError,
    IntegerDivisionError,
    TypeInferenceError,
)
from smelt.ir.evaluate import evaluate, named_fault
from smelt.ir.layout import Layout
from smelt.ir.op import Decompose, NoAttrs, OpDef, Vjp
from smelt.ir.registry import OPS
from smelt.ir.types import TensorType
from smelt.signature import Signature
from smelt.state import mode
from smelt.storage import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smelt.ir.graph import Graph
    from smelt.random import Generator
    from smelt.tensor import Tensor

NO_ATTRS = NoAttrs()


class Tracer(Protocol):
    """What an active tracer does in place of eager execution.

    Attributes:
        undo: what puts Python's state back if nothing that was recorded can run.
    """

    undo: list[Callable[[], None]]

    def preserve(self, tensor: TensorBase) -> None:
        """Note that storage, layout, gradient or history of a tensor are about to be exchanged."""
        ...

    def record(
        self, op: OpDef, inputs: tuple[Tensor, ...], attrs: Any, regions: tuple[Graph, ...]
    ) -> Any:
        """Append an operation; gives what `apply` gives."""
        ...

    def write(self, target: Tensor, value: Tensor) -> None:
        """Append the overwriting of `target` by `value`, which has its shape and dtype."""
        ...

    def scalar(self, value: bool | int | float | complex, dtype: DType) -> Tensor:
        """Return a Python number as a 0-d tensor."""
        ...

    def scalar_input(self, value: bool | int | float | complex, dtype: DType) -> Tensor:
        """Return a Python number as a 0-d tensor that is an input, even if it is a literal."""
        ...

    def random_state(self, generator: Generator, words: int) -> tuple[Tensor, Tensor]:
        """Return seed and offset (0-d int64) of the next draw of `words` words."""
        ...

    def read(self, tensor: TensorBase, reason: str) -> Array:
        """Return the elements for Python to look at, or raise `TraceError`."""
        ...

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
        """Append the gradients of `outputs`.

        With `accumulate` they are added to `.grad` of the leaves (of `inputs` alone, if given) and
        () is returned; else one gradient an input is.
        """
        ...

    def call_function(self, function: type[Any], args: tuple[Any, ...]) -> Any:
        """Record the application of an `autograd.Function`; gives what `apply` of it gives."""
        ...


_signatures: dict[Any, Signature] = {}
_SIGNATURES_HELD = 1 << 16


def signature_of(op: OpDef, inputs: Sequence[TensorBase], attrs: Any) -> Signature:
    """Return the types of an application, inferred once for each (op, types, attrs).

    Raises:
        TypeInferenceError: the operands or attributes do not fit together.
    """
    key: list[Any] = [op, None if attrs is NO_ATTRS else attrs]
    for x in inputs:
        key.append(x.dtype)
        array = x._array
        key.append(x._sizes if array is None else array.shape)
    lookup = tuple(key)
    found = _signatures.get(lookup)
    if found is None:
        types = tuple([TensorType(x.dtype, tuple(x._sizes)) for x in inputs])
        found = Signature.of(op, types, attrs)
        if len(_signatures) >= _SIGNATURES_HELD:
            _signatures.clear()
        _signatures[lookup] = found
    return found


def apply(
    op: OpDef | str,
    inputs: tuple[Tensor, ...] = (),
    attrs: Any = NO_ATTRS,
    regions: tuple[Graph, ...] = (),
) -> Any:
    """Apply an op to tensors.

    Args:
        op: the op, or its name.
        inputs: operands, of the shapes and dtypes that the op asks for.
        attrs: an instance of `op.attrs`.
        regions: graphs of a region op.

    Returns:
        The result, or a tuple of results if the op is defined with several.

    Raises:
        TypeInferenceError: the operands or attributes do not fit together.
    """
    if type(op) is str:
        op = OPS[op]
    assert not isinstance(op, str)
    tracer = mode.tracer
    if tracer is not None:
        return tracer.record(op, inputs, attrs, regions)
    if regions:
        return _apply_region(op, inputs, attrs, regions)
    signature = signature_of(op, inputs, attrs)
    taped = signature.differentiable and mode.grad and tape.wanted(inputs)
    if taped and op.vjp is None:
        return _decomposed(op, inputs, attrs, signature)
    if op.view is not None:
        layout = op.view(attrs, inputs[0]._layout)
        if layout is not None:
            return _view(op, inputs[0], attrs, layout, signature, taped)
    arrays = [x._values() if x._array is None else x._array for x in inputs]
    reference = op.reference
    found: Any
    if reference is None:
        found = evaluate(op, attrs, tuple(arrays))
    else:
        try:
            found = reference(np, attrs, *arrays)
        except (IndexRangeError, IntegerDivisionError) as error:
            raise named_fault(error, op, tuple(arrays)) from None
    if type(found) is not tuple:
        result = wrap(found)
        if mode.inference:
            result._inference = True
        if taped:
            tape.record(op, inputs, attrs, signature, (result,))
        return (result,) if signature.many else result
    results = tuple([wrap(array) for array in found])
    if mode.inference:
        for result in results:
            result._inference = True
    if taped:
        tape.record(op, inputs, attrs, signature, results)
    return results if signature.many else results[0]


def _view(
    op: OpDef,
    source: Tensor,
    attrs: Any,
    layout: Layout,
    signature: Signature,
    taped: bool,
) -> Tensor:
    storage = source._storage
    memory = storage.array
    result = wrap_storage(storage, layout, view_of(memory, layout), source._version_counter)
    result._inference = source._inference or mode.inference
    if op.name == "detach":
        return result
    result._base = source if source._base is None else source._base
    result._view_version = result._version
    if taped:
        tape.record(op, (source,), attrs, signature, (result,))
    return result


def _decomposed(op: OpDef, inputs: tuple[Tensor, ...], attrs: Any, signature: Signature) -> Any:
    """Apply a composite that has no vjp of its own by its decomposition, whose ops are taped."""
    assert isinstance(op.rule, Decompose)
    results = op.rule.rule(tape.RULES, attrs, *inputs)
    results = results if isinstance(results, tuple) else (results,)
    for result in results:
        if result._node is not None:
            result._node.label = op.name
    return results if signature.many else results[0]


def _apply_region(
    op: OpDef, inputs: tuple[Tensor, ...], attrs: Any, regions: tuple[Graph, ...]
) -> Any:
    arrays = tuple([x._values() for x in inputs])
    results = tuple([wrap(a) for a in evaluate(op, attrs, arrays, regions)])
    types = tuple([TensorType(x.dtype, tuple(x._sizes)) for x in inputs])
    if mode.grad and tape.wanted(inputs) and isinstance(op.vjp, Vjp):
        signature = Signature.of_region(types, results)
        tape.record(op, inputs, attrs, signature, results, regions)
    return results[0] if op.results == ("out",) else results


def scalar(value: bool | int | float | complex, dtype: DType) -> Tensor:
    """Return a Python number as a 0-d tensor of `dtype`."""
    tracer = mode.tracer
    if tracer is not None:
        return tracer.scalar(value, dtype)
    if dtype.kind in (Kind.INT, Kind.UINT) and isinstance(value, int):
        bits = dtype.bits
        value &= (1 << bits) - 1  # numbers outside the range wrap, as PyTorch's do
        if dtype.kind is Kind.INT and value >> (bits - 1):
            value -= 1 << bits
    return wrap(np.array(value, dtype.numpy), dtype)


def number_as(value: bool | int | float | complex, like: Tensor) -> Tensor:
    """Return a Python number as a tensor of the type of `like`."""
    if mode.tracer is not None or not like._sizes or like.dtype.kind in (Kind.INT, Kind.UINT):
        return expand(scalar(value, like.dtype), tuple(like._sizes))
    shape = like._sizes
    held = np.array(value, like.dtype.numpy)
    return passing(np.ndarray(shape, held.dtype, held, 0, (0,) * len(shape)), like.dtype)


def scalar_input(value: bool | int | float | complex, dtype: DType) -> Tensor:
    """Return a Python number that may change from call to call as a 0-d tensor of `dtype`.

    Where `scalar` makes literals of the user's code part of a compiled program, this never does:
    for learning rates and other numbers that a schedule changes.
    """
    tracer = mode.tracer
    return scalar(value, dtype) if tracer is None else tracer.scalar_input(value, dtype)


def on_failure(restore: Callable[[], None]) -> None:
    """Have Python's state put back if the program that is being recorded cannot be compiled.

    For tensors that are put somewhere while a tracer is active: nobody could ever read them.
    """
    tracer = mode.tracer
    if tracer is not None:
        tracer.undo.append(restore)


def preserve(tensor: TensorBase) -> None:
    """Have the state of a tensor put back if the program that is being recorded cannot run.

    For what changes a tensor other than by `write`: its storage, layout, gradient or history.
    """
    tracer = mode.tracer
    if tracer is not None:
        tracer.preserve(tensor)


def random_state(generator: Generator, words: int) -> tuple[Tensor, Tensor]:
    """Return seed and offset (0-d int64) for a draw of `words` words, and advance the generator."""
    tracer = mode.tracer
    if tracer is not None:
        return tracer.random_state(generator, words)
    seed, offset = generator.draw(words)
    return wrap(np.array(seed, np.int64)), wrap(np.array(offset, np.int64))


def write(target: Tensor, value: Tensor, *, owned: bool = False) -> None:
    """Overwrite the elements of `target` by those of `value`.

    `value` has the shape of `target` and a dtype that may be stored in it. The versions of all
    views move on, and what the tape knows of them is rebased. `owned` says that nobody else holds
    `value`, which is the result of an in-place operation.

    Raises:
        DTypeError: storing `value` would lose its kind of number.
        RuntimeError: `target` is a leaf that requires grad, or has elements that share memory.
    """
    if value._sizes != target._sizes:
        raise TypeInferenceError(
            f"an in-place operation gives shape {list(value._sizes)} "
            f"({value.dtype.torch_name}), which cannot be stored in a tensor of shape "
            f"{list(target._sizes)} ({target.dtype.torch_name})"
        )
    if value.dtype is not target.dtype:
        if not promotion.can_cast(value.dtype, target.dtype):
            raise DTypeError(
                f"a result of dtype {value.dtype.torch_name} can't be cast to "
                f"{target.dtype.torch_name}, the dtype of the tensor it is stored in"
            )
        value = cast(value, target.dtype)
    if target._inference and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed: "
            "clone() it first"
        )
    tape.check_writable(target)
    for extent, stride in zip(target._layout.sizes, target._layout.strides):
        if stride == 0 and extent > 1:
            raise RuntimeError(
                f"a tensor of shape {list(target._sizes)} cannot be written in place: several "
                "of its elements share one place in memory; clone() it first"
            )
    tracer = mode.tracer
    if tracer is not None:
        tracer.write(target, value)
        return
    array, source = target._values(), value._values()
    if array is not source:
        np.copyto(array, source)
    written(target)
    tape.rebase(target, value, owned)


def written(target: TensorBase) -> None:
    """Note that the elements of `target` were written."""
    target._storage.epoch += 1
    target._version_counter.value += 1


def cast(x: Tensor, dtype: DType) -> Tensor:
    """Return `x` converted to `dtype`, itself if it has it."""
    if x.dtype is dtype:
        return x
    op = OPS["cast"]
    return apply(op, (x,), op.attrs(dtype=dtype))


def expand(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return `x` broadcast to `shape`, itself if it has it."""
    if x._sizes == shape:
        return x
    if mode.tracer is None and not tape.requires(x) and x._array is not None:
        # A passing operand: a stride-0 view that nobody else will see.
        array = x._array
        lead = len(shape) - array.ndim
        if lead < 0 or not array.flags.c_contiguous or 0 in shape:
            spread = np.broadcast_to(array, shape)
        else:
            steps = [0 if n == 1 else s for n, s in zip(array.shape, array.strides)]
            spread = np.ndarray(shape, array.dtype, array, 0, (*(0,) * lead, *steps))
        operand = passing(spread, x.dtype)
        operand._own_version = x._version_counter  # what the tape saves of it is checked by this
        return operand
    op = OPS["expand"]
    return apply(op, (x,), op.attrs(shape=tuple(shape)))


def passing(array: Array, dtype: DType) -> Tensor:
    """Return an operand for one application: an array with any strides, 0 among them."""
    tensor = wrap(_PLACE, dtype)
    tensor._array = array
    return tensor


_PLACE = np.empty((), np.float32)

__all__ = [
    "NO_ATTRS",
    "Tracer",
    "apply",
    "cast",
    "expand",
    "on_failure",
    "passing",
    "preserve",
    "random_state",
    "scalar",
    "scalar_input",
    "signature_of",
    "write",
    "written",
]
