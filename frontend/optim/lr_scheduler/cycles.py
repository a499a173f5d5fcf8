"""Schedules that rise and fall along curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from smelt.optim.lr_scheduler.base import LRScheduler, set_option
from smelt.optim.optimizer import Group, Optimizer


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to `eta_min` in `T_max` steps, and back.

    Source: Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts, 2017; the
    annealing without the restarts.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        """Take the number of steps to the least rate, and that rate."""
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self._is_initial:
            return self._rates()
        if self._step_count == 1 and self.last_epoch > 0:
            return self._get_closed_form_lr()
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The step before stood at the least rate, where the ratio below is 0 / 0.
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                rate + (base - self.eta_min) * rise
                for base, rate in zip(self.base_lrs, self._rates())
            ]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [ratio * (rate - self.eta_min) + self.eta_min for rate in self._rates()]

    def _height(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)

    def _get_closed_form_lr(self) -> list[Any]:
        height = self._height(self.last_epoch) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


class Phase(TypedDict):
    """Part of a cycle: names of the options that it goes from and to, up to a step."""

    end_step: float
    start_lr: str
    end_lr: str
    start_momentum: str
    end_momentum: str


class OneCycleLR(LRScheduler):
    """One rise to `max_lr` and a fall far below the initial rate; momentum the other way.

    Source: Smith, Topin, Super-convergence: very fast training of neural networks using large
    learning rates, 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        """Take the shape of the cycle.

        Args:
            optimizer: whose rates are set.
            max_lr: the highest rate, for all groups or each.
            total_steps: steps of the cycle; else `epochs` times `steps_per_epoch`.
            epochs: see `total_steps`.
            steps_per_epoch: see `total_steps`.
            pct_start: share of the steps that the rise takes.
            anneal_strategy: "cos" or "linear".
            cycle_momentum: whether momentum (or Adam's beta1) falls while the rate rises.
            base_momentum: the least momentum.
            max_momentum: the greatest momentum.
            div_factor: what `max_lr` is divided by to give the initial rate.
            final_div_factor: what that is divided by to give the last rate.
            three_phase: whether the fall to the initial rate mirrors the rise.
            last_epoch: step to go on after.

        Raises:
            ValueError: the number of steps is not given or not positive, or an option is outside
                its domain.
        """
        self.total_steps = _steps(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self.cycle_momentum = cycle_momentum
        groups = optimizer.param_groups
        if cycle_momentum and "momentum" not in groups[0] and "betas" not in groups[0]:
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.use_beta1 = cycle_momentum and "betas" in groups[0]
        if last_epoch == -1:
            for group, highest in zip(groups, _each("max_lr", max_lr, groups)):
                initial = highest / div_factor
                set_option(group, "lr", initial)
                group["initial_lr"] = initial
                group["max_lr"] = highest
                group["min_lr"] = initial / final_div_factor
            if cycle_momentum:
                lows = _each("base_momentum", base_momentum, groups)
                highs = _each("max_momentum", max_momentum, groups)
                for group, low, high in zip(groups, lows, highs):
                    _set_momentum(group, high)
                    group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Return the rate of each group at this step, and set the momentum.

        Raises:
            ValueError: the cycle is over.
        """
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        start = 0.0
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        done = (step - start) / (phase["end_step"] - start)
        rates: list[Any] = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], done))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                _set_momentum(group, self._between(*ends, done))
        return rates

    def _between(self, start: float, end: float, done: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * done + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)


def _steps(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total is not None:
        if not isinstance(total, int) or total <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total}")
        return total
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return epochs * steps_per_epoch


def _phases(total: int, rise: float, three: bool) -> list[Phase]:
    top, bottom = "max_momentum", "base_momentum"
    up = _phase(rise * total - 1, "initial_lr", "max_lr", top, bottom)
    if not three:
        return [up, _phase(total - 1, "max_lr", "min_lr", bottom, top)]
    down = _phase(2 * rise * total - 2, "max_lr", "initial_lr", bottom, top)
    return [up, down, _phase(total - 1, "initial_lr", "min_lr", top, top)]


def _phase(end: float, lr: str, end_lr: str, momentum: str, end_momentum: str) -> Phase:
    return Phase(
        end_step=float(end),
        start_lr=lr,
        end_lr=end_lr,
        start_momentum=momentum,
        end_momentum=end_momentum,
    )


def _each(name: str, value: float | Sequence[float], groups: list[Group]) -> list[float]:
    if isinstance(value, Sequence):
        if len(value) != len(groups):
            raise ValueError(f"expected {len(groups)} values for {name}, got {len(value)}")
        return list(value)
    return [value] * len(groups)


def _set_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
