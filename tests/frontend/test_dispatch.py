"""The one door: strict operands, errors that name them, tracers that see one thread alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import smelt
from smelt import dispatch
from smelt.ir import dtypes
from smelt.ir.errors import TypeInferenceError
from smelt.ir.registry import OPS
from smelt.state import mode


def test_operands_are_strict() -> None:
    x, y = smelt.zeros(2, 3), smelt.zeros(3)
    with pytest.raises(TypeInferenceError, match=r"add.*f32\[2,3\].*f32\[3\]"):
        dispatch.apply("add", (x, y))
    with pytest.raises(TypeInferenceError, match=r"add.*f32.*i64"):
        dispatch.apply("add", (y, smelt.arange(3)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: smelt.zeros(2, 3) + smelt.zeros(4), ["add", "[2, 3]", "[4]", "dimension 1"]),
        (lambda: smelt.zeros(2, 3) @ smelt.zeros(2, 3), ["matmul", "f32[2,3]", "3 columns"]),
        (lambda: smelt.zeros(2, 3) @ smelt.zeros(3, dtype=smelt.float64), ["f32", "f64[3]"]),
        (lambda: smelt.cat([smelt.zeros(2, 2), smelt.zeros(3, 3)]), ["cat", "f32[3,3]"]),
        (lambda: smelt.zeros(2).sum(3), ["sum", "[-1, 0]", "3"]),
        (lambda: smelt.zeros(2).add("a"), ["add", "other", "str"]),
        (lambda: smelt.arange(3).mean(), ["mean", "int64"]),
        (lambda: smelt.zeros(2, device="cuda"), ["cuda", "cpu"]),
        (lambda: smelt.zeros(2).to("cuda:1"), ["cuda:1"]),
    ],
)
def test_messages_name_what_arrived(call: Any, words: list[str]) -> None:
    with pytest.raises((RuntimeError, TypeError, IndexError)) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


class Listener:
    """A tracer that hears operations and runs them."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def record(self, op: Any, inputs: Any, attrs: Any, regions: Any) -> Any:
        self.heard.append(op.name)
        mode.tracer = None
        try:
            return dispatch.apply(op, inputs, attrs, regions)
        finally:
            mode.tracer = self

    def scalar(self, value: Any, dtype: Any) -> Any:
        mode.tracer = None
        try:
            return dispatch.scalar(value, dtype)
        finally:
            mode.tracer = self


def test_a_tracer_hears_its_own_thread_alone() -> None:
    x = smelt.arange(4.0)
    listener = Listener()
    mode.tracer = listener  # type: ignore[assignment]
    try:
        worker = threading.Thread(target=lambda: x.exp().log())
        worker.start()
        worker.join()
        (x * 2 + x).view(2, 2).sum()
    finally:
        mode.tracer = None
    assert listener.heard == ["expand", "mul", "add", "reshape", "sum"]


def test_numbers_wrap_into_integer_dtypes() -> None:
    assert dispatch.scalar(300, dtypes.uint8).item() == 44
    assert dispatch.scalar(200, dtypes.int8).item() == -56
    assert dispatch.scalar(True, dtypes.float32).item() == 1.0


def test_several_results_come_as_a_tuple() -> None:
    found = dispatch.apply("sort", (smelt.tensor([2.0, 1.0]),), OPS["sort"].attrs(0, False))
    assert isinstance(found, tuple) and len(found) == 2


def test_inference_tensors_stay_out_of_the_tape() -> None:
    w = smelt.ones(2, requires_grad=True)
    with smelt.inference_mode():
        x = smelt.ones(2) * 2
        x.add_(1)
    with pytest.raises(RuntimeError, match="saved for backward"):
        w * x
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        x.add_(1)
    assert (w * x.clone()).requires_grad
