"""A whole training step is one graph and one native call, and learns what eager learns."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import nn, optim
from smelt.runtime import executable


def network() -> Any:
    smelt.manual_seed(0)
    return nn.Sequential(
        # A bias before batch norm has no gradient but rounding, which Adam would make steps of.
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(4 * 9, 5),
    )


def training(compiled: bool, make: Any = optim.SGD, **options: Any) -> tuple[Any, Any]:
    """Return a training step and its model."""
    model = network()
    optimizer = make(model.parameters(), **options)
    criterion = nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return (smelt.compile(step) if compiled else step), model


def batch(seed: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((6, 1, 6, 6)).astype(np.float32)
    return smelt.from_numpy(images), smelt.from_numpy(generator.integers(0, 5, 6))


@pytest.fixture
def native_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Wrap the native entry: one list a call, of the Python functions called meanwhile."""
    calls: list[list[str]] = []
    load = executable.load_support

    def loaded(code: bytes) -> Any:
        support = load(code)

        def call(address: int) -> int:
            seen: list[str] = []
            calls.append(seen)

            def profile(frame: Any, event: str, argument: Any) -> None:
                if event == "call":
                    seen.append(frame.f_code.co_name)

            sys.setprofile(profile)
            try:
                return support.call(address)
            finally:
                sys.setprofile(None)

        return dataclasses.replace(support, call=call)

    monkeypatch.setattr(executable, "load_support", loaded)
    return calls


def test_a_training_step_is_one_graph_and_one_native_call(native_calls: list[list[str]]) -> None:
    step, _ = training(True, lr=0.05, momentum=0.9)
    smelt.manual_seed(1)
    for number in range(4):
        before = len(native_calls)
        step(*batch(number))
        assert len(native_calls) == before + 1
        assert native_calls[-1] == []
    assert len(step.graphs) == 2  # momentum buffers come into being in the first step
    ops = {node.op.name for node in step.graphs[1].nodes}
    assert {"conv", "batch_norm", "dropout", "cross_entropy", "grad", "sgd_step"} <= ops


OPTIMISERS = {
    "momentum": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}),
    "nesterov": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "plain": (optim.SGD, {"lr": 0.05}),
    "adamw": (optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "amsgrad": (optim.Adam, {"lr": 1e-2, "amsgrad": True}),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_compiled_training_follows_eager(name: str) -> None:
    make, options = OPTIMISERS[name]
    found: dict[bool, tuple[list[float], Any]] = {}
    for compiled in (False, True):
        step, model = training(compiled, make, **options)
        smelt.manual_seed(1)
        found[compiled] = [step(*batch(k)).item() for k in range(5)], model
    np.testing.assert_allclose(found[True][0], found[False][0], rtol=2e-4)
    for a, b in zip(found[False][1].state_dict().values(), found[True][1].state_dict().values()):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=2e-3, atol=2e-4)


def test_a_ragged_last_batch_is_one_more_program() -> None:
    step, _ = training(True, lr=0.05)
    for rows in (6, 6, 4, 6, 4):
        x, y = batch(rows)
        step(x[:rows], y[:rows])
    assert len(step.graphs) == 2


def test_parameters_keep_their_memory() -> None:
    step, model = training(True, lr=0.05, momentum=0.9)
    addresses = [p.data_ptr() for p in model.parameters()]
    shared = model[0].weight.detach().numpy()
    before = shared.copy()
    for number in range(3):
        step(*batch(number))
    assert [p.data_ptr() for p in model.parameters()] == addresses
    assert not np.array_equal(shared, before)
    np.testing.assert_array_equal(shared, model[0].weight.detach().numpy())
