from __future__ import annotations

import gc
import sys
import time
from typing import Any

import numpy as np
import pytest
from smelt.ir import dtypes
from smelt.ir.dim import symbol
from smelt.ir.errors import ArgumentError, DTypeError, TypeInferenceError
from smelt.runtime import arena
from smelt.runtime.executable import DataError, Executable
from smelt.runtime.signature import Signature, Slot

from tests.runtime.programs import CHECKED, DOUBLE, ENDLESS, executable, keeping, slot


def double(strides: tuple[Any, ...] = (1,)) -> Executable:
    n = symbol("n")
    inputs = (Slot(dtypes.float32, (n,), strides),)
    signature = Signature("double", inputs, (slot(dtypes.float32, n),), n * 4, ("n",))
    return executable(DOUBLE, signature, (np.float32([3]),))


def test_a_data_error_is_returned_and_nothing_is_written() -> None:
    program = executable(CHECKED)
    out = np.array([-1])
    assert program(np.array([7]), outputs=[out]) == DataError(code=1, value=7, limit=5)
    assert out[0] == -1
    # The record is clean again for the next call.
    assert program(np.array([0]), outputs=[out]) == (out,)
    assert out[0] == 1


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros(4), DTypeError, "input 0 is float64, expected float32"),
        (np.zeros((2, 2), np.float32), TypeInferenceError, r"shape \[2, 2\], expected \[2\]"),
        (np.zeros(8, np.float32)[::2], TypeInferenceError, r"strides \[2\], expected \[1\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    array: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        double()(array)


def test_the_number_of_arguments_is_checked() -> None:
    program = double()
    x = np.zeros(4, np.float32)
    with pytest.raises(ArgumentError, match="takes 1 inputs, got 2"):
        program(x, x)
    with pytest.raises(ArgumentError, match="has 1 outputs, got 0"):
        program(x, outputs=[])


def test_each_run_is_one_native_call_without_python() -> None:
    program = executable(ENDLESS)

    def events_of_run(polls: int) -> list[str]:
        events: list[str] = []
        x, y = np.array([polls]), np.array([0])
        inputs, outputs = [x.ctypes.data], [y.ctypes.data]
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            program.run(inputs, outputs)
        finally:
            sys.setprofile(None)
        assert y[0] == polls
        return events

    first = events_of_run(1)
    assert events_of_run(50_000) == events_of_run(1)
    assert len(first) > 0
    assert program.native_calls == 3


def test_what_is_kept_serves_many_calls() -> None:
    program = keeping()
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    kept = program.derive([x.ctypes.data])
    assert kept.address % 64 == 0
    for value in (1, 5):
        x[...] = value
        assert program.run([x.ctypes.data], [y.ctypes.data], (), kept) is None
        np.testing.assert_array_equal(y, np.full(4, value + 2, np.float32))
    assert (program.native_calls, program.derivations) == (3, 1)


def test_each_derivation_has_memory_of_its_own() -> None:
    program = keeping()
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
    first = program.derive([x.ctypes.data])
    x[...] = 10
    second = program.derive([x.ctypes.data])
    for kept, expected in ((first, 12), (second, 30)):
        program.run([x.ctypes.data], [y.ctypes.data], (), kept)
        np.testing.assert_array_equal(y, np.full(4, expected, np.float32))


def test_without_anything_kept_a_call_derives_for_itself() -> None:
    program = keeping()
    for value in (1, 2):
        x = np.full(4, value, np.float32)
        np.testing.assert_array_equal(program(x)[0], 3 * x)
    assert program.derivations == 2


def test_a_prepared_call_is_cheap() -> None:
    """20 µs for 100 inputs are promised; ten times that is certainly something gone wrong."""
    many = tuple(slot(dtypes.int64, 1) for _ in range(100))
    program = executable(ENDLESS, Signature("many", many, many))
    arrays = [np.array([1]) for _ in range(100)]
    addresses = [a.ctypes.data for a in arrays]
    program.run(addresses, addresses)
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(20):
            program.run(addresses, addresses)
        best = min(best, (time.perf_counter() - start) / 20)
    assert best < 200e-6


def take(pool: arena.OutputPool, nbytes: int) -> tuple[np.ndarray, int]:
    return pool.take(nbytes, (nbytes,), np.dtype(np.uint8))


def test_outputs_use_memory_again_once_nobody_has_it() -> None:
    pool = arena.OutputPool()
    array, address = take(pool, 1000)
    assert address % 64 == 0 and array.ctypes.data == address
    view = array[10:20].view(np.int16)
    del array
    gc.collect()
    other, elsewhere = take(pool, 1000)
    assert elsewhere != address, "a view keeps its memory"
    exported = memoryview(view)
    del view
    third, apart = take(pool, 1000)
    assert apart not in (address, elsewhere), "so does an export of it"
    del exported
    _, again = take(pool, 1000)
    assert again == address
    del other, third


def test_free_output_memory_is_bounded() -> None:
    pool = arena.OutputPool(limit=100_000)
    arrays = [take(pool, 40_000)[0] for _ in range(5)]
    del arrays
    assert 0 < pool._free_bytes <= 100_000
    pool.clear()
    assert pool._free_bytes == 0


def test_an_output_pool_may_go_before_its_arrays() -> None:
    pool = arena.OutputPool()
    array, _ = take(pool, 100)
    array[:] = 1
    del pool
    gc.collect()
    assert array.sum() == 100


def test_arenas_are_aligned_grow_and_are_used_again() -> None:
    pool = arena.ArenaPool()
    first, second = pool.take(100), pool.take(100)
    assert first.address % 64 == second.address % 64 == 0
    assert first.address != second.address
    pool.give(first)
    assert pool.take(90) is first
    pool.give(first)
    larger = pool.take(1_000_000)
    assert larger.nbytes >= 1_000_000
    pool.give(larger)
    assert pool.take(10) is larger


def test_empty_outputs() -> None:
    results = double()(np.zeros(0, np.float32))
    assert isinstance(results, tuple)
    assert results[0].shape == (0,)


def test_constants_are_aligned_and_read_only() -> None:
    unaligned = np.zeros(257, np.uint8)[1:].view(np.float32)
    n = symbol("n")
    vector = slot(dtypes.float32, n)
    program = executable(DOUBLE, Signature("d", (vector,), (vector,), 0, ("n",)), (unaligned,))
    assert program.constants[0].ctypes.data % 64 == 0
    assert not program.constants[0].flags.writeable
