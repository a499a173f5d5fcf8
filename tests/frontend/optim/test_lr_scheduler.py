"""Schedules against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import smelt
from smelt import optim
from smelt.optim import lr_scheduler


def optimizer_of(lr: float = 0.1) -> optim.SGD:
    return optim.SGD([smelt.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)


def trajectory(make: Callable[[Any], Any], steps: int) -> list[float]:
    optimizer = optimizer_of()
    schedule = make(optimizer)
    rates: list[float] = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        assert schedule.get_last_lr() == [rates[-1]]
        optimizer.step()
        schedule.step()
    return rates


CASES: dict[str, tuple[Callable[[Any], Any], Callable[[int], float]]] = {
    "step": (lambda o: lr_scheduler.StepLR(o, 4, 0.5), lambda k: 0.5 ** (k // 4)),
    "milestones": (
        lambda o: lr_scheduler.MultiStepLR(o, [3, 7]),
        lambda k: 0.1 ** ((k >= 3) + (k >= 7)),
    ),
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 0.5, 4), lambda k: 0.5 if k < 4 else 1),
    "linear": (
        lambda o: lr_scheduler.LinearLR(o, 0.25, 0.75, 8),
        lambda k: 0.25 + 0.5 * min(k, 8) / 8,
    ),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda k: 0.9**k),
    "lambda": (lambda o: lr_scheduler.LambdaLR(o, lambda k: 1 / (k + 1)), lambda k: 1 / (k + 1)),
    "cosine": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 6, eta_min=0.02),
        lambda k: 0.2 + 0.8 * (1 + math.cos(math.pi * k / 6)) / 2,
    ),
    "sequence": (
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.1, total_iters=5), lr_scheduler.ExponentialLR(o, 0.5)],
            [5],
        ),
        lambda k: 0.1 + 0.9 * k / 5 if k < 5 else 0.5 ** (k - 5),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_formula(name: str) -> None:
    make, factor = CASES[name]
    expected = [0.1 * factor(k) for k in range(20)]
    assert trajectory(make, 20) == pytest.approx(expected, rel=1e-9)


def test_one_cycle() -> None:
    optimizer = optimizer_of()
    schedule = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=11, pct_start=0.4)
    rates, momenta = [], []
    for step in range(11):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["momentum"])
        if step < 10:
            optimizer.step()
            schedule.step()
    assert rates[0] == pytest.approx(1 / 25) and rates[-1] == pytest.approx(1 / 25 / 1e4)
    top = 0.4 * 11 - 1
    for step, (rate, momentum) in enumerate(zip(rates, momenta)):
        if step <= top:
            share = (1 + math.cos(math.pi * step / top)) / 2
            low = 1 / 25
        else:
            share = (1 - math.cos(math.pi * (step - top) / (10 - top))) / 2
            low = 1 / 25 / 1e4
        assert rate == pytest.approx(1 + (low - 1) * share)
        assert momentum == pytest.approx(0.85 + 0.1 * share)
    optimizer.step()
    schedule.step()
    with pytest.raises(ValueError, match="Tried to step 12 times"):
        schedule.step()


def test_plateau() -> None:
    optimizer = optimizer_of()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5, min_lr=0.03)
    rates: list[float] = []
    for metric in [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.2, 0.2]:
        schedule.step(smelt.tensor(metric))
        rates.append(optimizer.param_groups[0]["lr"])
    expected = [0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]
    assert rates == pytest.approx(expected)
    with pytest.raises(ValueError, match="Factor should be < 1"):
        lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.0)
    with pytest.raises(ValueError, match="mode least is unknown"):
        lr_scheduler.ReduceLROnPlateau(optimizer, mode="least")  # type: ignore[arg-type]


def test_states_are_saved() -> None:
    optimizer = optimizer_of()
    schedule = lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    other = optimizer_of(optimizer.param_groups[0]["lr"])
    loaded = lr_scheduler.CosineAnnealingLR(other, 3)
    loaded.load_state_dict(schedule.state_dict())
    other.step()
    for _ in range(9):
        schedule.step()
        loaded.step()
        assert loaded.get_last_lr() == pytest.approx(schedule.get_last_lr())


def test_steps_in_the_wrong_order_warn() -> None:
    schedule = lr_scheduler.ExponentialLR(optimizer_of(), 0.5)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        schedule.step()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: lr_scheduler.StepLR("no optimizer", 3), TypeError, "is not an Optimizer"),
        (lambda o: lr_scheduler.StepLR(o, 3, last_epoch=4), KeyError, "initial_lr"),
        (lambda o: lr_scheduler.LambdaLR(o, [abs, abs]), ValueError, "Expected 1 lr_lambdas"),
        (lambda o: lr_scheduler.ConstantLR(o, 2.0), ValueError, "between 0 and 1"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "greater than 0"),
        (lambda o: lr_scheduler.LinearLR(o, 0.1, 2.0), ValueError, "between 0 and 1"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0), ValueError, "total_steps OR"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 0), ValueError, "positive integer total_steps"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 5, pct_start=2), ValueError, "pct_start"),
        (lambda o: lr_scheduler.OneCycleLR(o, [1.0, 2.0], 5), ValueError, "1 values for max_lr"),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), ValueError, "at least one scheduler"),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]),
            ValueError,
            "one more than",
        ),
    ],
)
def test_mistakes(make: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(optimizer_of())
