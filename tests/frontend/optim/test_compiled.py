"""Whole training steps as one program: the trajectory is eager's, and schedules cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import smelt
from smelt import optim

MAKERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.01),
    "sgd, momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.05),
}


def train(make: Callable[[Any], optim.Optimizer], steps: int, compiled: bool) -> tuple[Any, ...]:
    random = np.random.default_rng(0)
    weight = smelt.tensor(random.standard_normal((4, 3)), dtype=smelt.float32, requires_grad=True)
    bias = smelt.zeros(3, requires_grad=True)
    optimizer = make([weight, bias])
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    inputs = smelt.tensor(random.standard_normal((5, 4)), dtype=smelt.float32)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (x @ weight + bias - 1).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    run = smelt.compile(step) if compiled else step
    losses = []
    for _ in range(steps):
        losses.append(run(inputs).item())
        schedule.step()
    graphs = run.graphs if compiled else []
    return losses, [weight.tolist(), bias.tolist()], optimizer.state_dict(), len(graphs)


@pytest.mark.parametrize("name", MAKERS)
def test_a_compiled_step_is_eagers(name: str) -> None:
    losses, parameters, state, _ = train(MAKERS[name], 8, compiled=False)
    found = train(MAKERS[name], 8, compiled=True)
    np.testing.assert_allclose(found[0], losses, rtol=1e-5)
    for a, b in zip(found[1], parameters):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert set(found[2]["state"]) == set(state["state"])
    for number, kept in state["state"].items():
        for key, value in kept.items():
            other = found[2]["state"][number][key]
            assert other.dtype is value.dtype
            np.testing.assert_allclose(other.numpy(), value.numpy(), rtol=1e-4, atol=1e-6)
    # One program for the first step, which makes the state, and one for all others, whatever
    # their rate.
    assert found[3] <= 2
