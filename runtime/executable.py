"""Compiled programs that can be called.

An `Executable` is a program's object code, constants and signature. One call of it is one native
call, whatever the program holds. Calls may come from several threads at once, and from a signal
handler that interrupts another call: each has a frame and an arena of its own.

What a program keeps between calls (packed weights) is in a `Kept`, which one more native call makes
from the inputs and nothing changes afterwards; whoever calls the program holds on to it.
"""

from __future__ import annotations

import ctypes
import math
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from smelt.ir import dim as dims
from smelt.ir.abi import DERIVE, ENTRY, Context, Error, NativeObject, Status
from smelt.ir.errors import ArgumentError, InternalError
from smelt.runtime import arena, profiler
from smelt.runtime.loader import load
from smelt.runtime.native_layout import Record
from smelt.runtime.pool import current_pool
from smelt.runtime.signature import Signature, Slot
from smelt.runtime.support import Support, load_support


@dataclass(frozen=True, slots=True)
class DataError:
    """What native code found wrong with the data; none of the caller's buffers was written.

    Attributes:
        code: key of `structured.DATA_ERRORS`.
        value: the offending value, such as an index.
        limit: what it was compared with, such as the size of the dimension.
    """

    code: int
    value: int
    limit: int


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a program derived from its inputs, to be used while those stay as they were.

    Attributes:
        memory: owns the bytes.
        address: address of the first one.
    """

    memory: np.ndarray[Any, Any]
    address: int


_WORD = 8
_CONTEXT = 0
_RECORD = _CONTEXT + len(Context)
_ERROR = _RECORD + len(Record)
_TABLES = _ERROR + len(Error)

# The first fields of the record differ from call to call: pool, worker, workers.
_RECORD_HEAD = struct.Struct("=3q")
_RECORD_HEAD_AT = (_RECORD + Record.POOL) * _WORD
# What a call fills in besides: arena, scratch and its stride, what is kept, the entry, the check.
_ONE = struct.Struct("=q")
_ARENA_AT = (_CONTEXT + Context.ARENA) * _WORD
_SCRATCH = struct.Struct("=2q")
_SCRATCH_AT = (_CONTEXT + Context.SCRATCH) * _WORD
_ENTRY_AT = (_RECORD + Record.ENTRY) * _WORD
_KEPT_AT = (_CONTEXT + Context.KEPT) * _WORD
_CHECK_AT = (_RECORD + Record.CHECK_SIGNALS) * _WORD
_ERROR_FIELDS = struct.Struct("=4q")


class _Frame:
    """The memory of one call: context, record, error, then the tables of pointers and sizes.

    Attributes:
        memory: the words.
        address: address of the context, which stands first.
    """

    __slots__ = ("address", "memory")

    def __init__(self, words: int) -> None:
        self.memory = (ctypes.c_int64 * words)()
        self.address = ctypes.addressof(self.memory)


def _python(name: str) -> int:
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert address is not None, "Python exports its C interface"
    return address


_CHECK_SIGNALS = _python("PyErr_CheckSignals")


class Executable:
    """A compiled program.

    Attributes:
        signature: how arguments are laid out.
        native: its object code.
        constants: row-major arrays that the code reads.
        support: the runtime's own code that it runs with.
        native_calls: how often native code was entered.
        derivations: how often that was to derive what is kept.
    """

    def __init__(
        self,
        signature: Signature,
        native: NativeObject,
        constants: Sequence[np.ndarray[Any, Any]],
        support: bytes,
    ) -> None:
        """Load the code.

        Args:
            signature: its signature.
            native: its object code.
            constants: row-major arrays; copied where they are not 64-byte aligned.
            support: object of `pool_ir.text`, from `build_support`.

        Raises:
            LoadError: the code cannot be loaded here.
        """
        self.signature = signature
        self.native = native
        self.constants = tuple(_aligned(c) for c in constants)
        self.native_calls = 0
        self.derivations = 0
        self.support: Support = load_support(support)
        self._loaded = load(native.code)
        self._entry = self._loaded[ENTRY]
        self._derive = self._loaded[DERIVE] if signature.kept_bytes else 0
        addresses = [c.ctypes.data for c in self.constants]
        self._constant_table = (ctypes.c_int64 * max(1, len(addresses)))(*addresses)
        counts = (len(signature.inputs), len(signature.outputs), len(signature.sizes))
        self._arguments = struct.Struct(f"={sum(counts)}q")
        self._words = _TABLES + sum(counts)
        self._counts = counts
        self._frames: list[_Frame] = []
        self._output_layouts: tuple[tuple[int, tuple[int, ...], np.dtype[Any]], ...] = ()
        if signature.is_static:
            self._output_layouts = tuple(_layout(slot, {}) for slot in signature.outputs)

    def derive(self, inputs: Sequence[int], sizes: Sequence[int] = ()) -> Kept:
        """Derive what is kept between calls.

        Args:
            inputs: address of each input's first element; only `signature.kept_inputs` are read.
            sizes: value of each symbolic size.

        Raises:
            KeyboardInterrupt: as `run` does.
        """
        nbytes = self.signature.kept_bytes
        memory, address = arena.OUTPUTS.take(nbytes, (nbytes,), np.dtype(np.uint8))
        self.derivations += 1
        failure = self._enter(self._derive, inputs, (0,) * self._counts[1], sizes, address)
        assert failure is None, "what derives checks no data"
        return Kept(memory, address)

    def run(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        sizes: Sequence[int] = (),
        kept: Kept | None = None,
    ) -> DataError | None:
        """Run the program over memory that the caller keeps alive.

        Args:
            inputs: address of each input's first element.
            outputs: address of each output's first element.
            sizes: value of each symbolic size.
            kept: what `derive` gave for the inputs as they are now; None: derived for this call.

        Returns:
            None when done; what was wrong with the data otherwise.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; likewise any exception of a signal handler.
                Outputs then hold anything.
        """
        if kept is None:
            if not self.signature.kept_bytes:
                return self._enter(self._entry, inputs, outputs, sizes, 0)
            kept = self.derive(inputs, sizes)
        return self._enter(self._entry, inputs, outputs, sizes, kept.address)

    def _enter(
        self,
        entry: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        sizes: Sequence[int],
        kept: int,
    ) -> DataError | None:
        """Make a native call of one of the program's entries."""
        pool = current_pool(self.support)
        arena_bytes = self._arena_bytes(sizes)
        scratch_bytes = self.native.scratch_bytes
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = self._new_frame()
        block = arena.ARENAS.take(arena_bytes + scratch_bytes * pool.threads)
        try:
            memory = frame.memory
            self._arguments.pack_into(memory, _TABLES * _WORD, *inputs, *outputs, *sizes)
            _ONE.pack_into(memory, _ARENA_AT, block.address)
            _SCRATCH.pack_into(memory, _SCRATCH_AT, block.address + arena_bytes, scratch_bytes)
            _RECORD_HEAD.pack_into(memory, _RECORD_HEAD_AT, pool.address, 0, pool.threads)
            _ONE.pack_into(memory, _ENTRY_AT, entry)
            _ONE.pack_into(memory, _KEPT_AT, kept)
            main = threading.get_ident() == threading.main_thread().ident
            _ONE.pack_into(memory, _CHECK_AT, _CHECK_SIGNALS if main else 0)
            self.native_calls += 1
            profile = profiler.active()
            if profile is None or entry != self._entry:
                status = self.support.call(frame.address)
            else:
                status = self._call_profiled(frame, profile)
            if status == Status.DONE:
                return None
            return self._failure(status, frame)
        finally:
            arena.ARENAS.give(block)
            self._frames.append(frame)

    def __call__(
        self,
        *inputs: np.ndarray[Any, Any],
        outputs: Sequence[np.ndarray[Any, Any]] | None = None,
    ) -> tuple[np.ndarray[Any, Any], ...] | DataError:
        """Run the program over arrays.

        Args:
            inputs: arrays with the dtypes, shapes and strides of the signature.
            outputs: arrays to write, laid out as the signature says; None: new row-major ones.

        Returns:
            The outputs, or what was wrong with the data.

        Raises:
            TypeInferenceError: an array does not fit the signature.
        """
        sizes = self.signature.bind(inputs)
        results = self.new_outputs(sizes) if outputs is None else tuple(outputs)
        if len(results) != len(self.signature.outputs):
            expected = len(self.signature.outputs)
            raise ArgumentError(f"{self.signature.name} has {expected} outputs, got {len(results)}")
        failure = self.run([a.ctypes.data for a in inputs], [a.ctypes.data for a in results], sizes)
        return results if failure is None else failure

    def new_outputs(self, sizes: Sequence[int] = ()) -> tuple[np.ndarray[Any, Any], ...]:
        """Return a row-major array for each output, on recycled memory where there is some."""
        return tuple(self.new_output(k, sizes)[0] for k in range(len(self.signature.outputs)))

    def new_output(
        self, number: int, sizes: Sequence[int] = ()
    ) -> tuple[np.ndarray[Any, Any], int]:
        """Return (row-major array, its address) for one output."""
        if not sizes:
            return arena.OUTPUTS.take(*self._output_layouts[number])
        values = dict(zip(self.signature.sizes, sizes))
        return arena.OUTPUTS.take(*_layout(self.signature.outputs[number], values))

    def _arena_bytes(self, sizes: Sequence[int]) -> int:
        nbytes = self.signature.arena_bytes
        if not isinstance(nbytes, int):
            nbytes = dims.evaluate(nbytes, dict(zip(self.signature.sizes, sizes)))
        return -(-nbytes // arena.ALIGNMENT) * arena.ALIGNMENT

    def _new_frame(self) -> _Frame:
        frame = _Frame(self._words)
        tables = frame.address + _TABLES * _WORD
        record = frame.address + _RECORD * _WORD
        inputs, outputs, _ = self._counts
        memory = frame.memory
        memory[_CONTEXT + Context.TABLE] = self.support.table
        memory[_CONTEXT + Context.INPUTS] = tables
        memory[_CONTEXT + Context.OUTPUTS] = tables + inputs * _WORD
        memory[_CONTEXT + Context.SIZES] = tables + (inputs + outputs) * _WORD
        memory[_CONTEXT + Context.CONSTANTS] = ctypes.addressof(self._constant_table)
        memory[_CONTEXT + Context.ERROR] = frame.address + _ERROR * _WORD
        memory[_CONTEXT + Context.RUNTIME] = record
        memory[_RECORD + Record.SHARED] = record
        memory[_RECORD + Record.SAVE_THREAD] = _python("PyEval_SaveThread")
        memory[_RECORD + Record.RESTORE_THREAD] = _python("PyEval_RestoreThread")
        return frame

    def _call_profiled(self, frame: _Frame, profile: profiler.Profile) -> int:
        with profile.trace(self.signature.name, self.signature.launches) as address:
            frame.memory[_RECORD + Record.TRACE] = address
            try:
                return self.support.call(frame.address)
            finally:
                frame.memory[_RECORD + Record.TRACE] = 0

    def _failure(self, status: int, frame: _Frame) -> DataError:
        if status == Status.DATA_ERROR:
            _, code, value, limit = _ERROR_FIELDS.unpack_from(frame.memory, _ERROR * _WORD)
            return DataError(code, value, limit)
        # An interrupted call never gets here: `support.call` raises the handler's exception.
        raise InternalError(f"{self.signature.name} returned the status {status}")


def _layout(slot: Slot, sizes: Mapping[str, int]) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Return (bytes, shape, dtype) of a row-major array for an output."""
    shape = tuple(dims.evaluate(d, sizes) for d in slot.shape)
    return slot.dtype.itemsize * math.prod(shape), shape, slot.dtype.numpy


def _aligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a read-only row-major array with the same elements at a 64-byte aligned address."""
    if not (array.flags.c_contiguous and array.ctypes.data % arena.ALIGNMENT == 0):
        block = arena.allocate(array.nbytes)
        copy = np.ndarray(array.shape, array.dtype, block.memory, block.offset)
        copy[...] = array
        array = copy
    array = array.view()
    array.flags.writeable = False
    return array
