"""What schedules share: counting steps, setting rates, saving and loading."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from smelt.optim.optimizer import Group, Optimizer
from smelt.tensor import Tensor


class LRScheduler(ABC):
    """Sets the learning rate of each group of an optimiser at each step.

    A subclass gives `get_lr`, which derives the next rates from the present ones, so that several
    schedules, and the user's own changes, combine. It may give `_get_closed_form_lr` as well,
    the rates at `last_epoch` from the initial ones alone, for going to any step.

    Attributes:
        optimizer: whose rates are set.
        base_lrs: initial rate of each group.
        last_epoch: number of the present step, from 0.
        _is_initial: whether the schedule is being made. One that goes on after an earlier one
            finds the rates as that one left them.
    """

    _is_initial = False
    base_lrs: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        """Begin, or go on after step `last_epoch`, with the groups' "initial_lr" as base.

        Raises:
            TypeError: `optimizer` is none.
            KeyError: going on, but a group has no "initial_lr".
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{number}] when resuming "
                    "an optimizer"
                )
        self.base_lrs = [_copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[Any] = []
        self._initial_step()

    def _initial_step(self) -> None:
        """Set the rates of the first step, which does not count as one of the user's."""
        self._step_count = 0
        self._is_initial = True
        self._advance(None)
        self._is_initial = False

    @abstractmethod
    def get_lr(self) -> Sequence[Any]:
        """Return the rate of each group at step `last_epoch`, from the present rates."""

    def get_last_lr(self) -> list[Any]:
        """Return the rate of each group that was set last."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step, or to the given one (deprecated).

        Call it after the optimiser's `step`.
        """
        if self._step_count == 1 and not self.optimizer._stepped:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: call them in "
                "the opposite order, or the first value of the schedule is skipped",
                UserWarning,
                stacklevel=2,
            )
        if epoch is not None:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` is deprecated: call `step()` alone",
                UserWarning,
                stacklevel=2,
            )
        self._advance(epoch)

    def _advance(self, epoch: int | None) -> None:
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            self._set(self.get_lr())
        else:
            self._go_to(epoch)

    def _go_to(self, epoch: int) -> None:
        """Set the rates of step `epoch`."""
        self.last_epoch = epoch
        closed = getattr(self, "_get_closed_form_lr", None)
        self._set(self.get_lr() if closed is None else closed())

    def _set(self, rates: Sequence[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates):
            set_option(group, "lr", rate)
        self._last_lr = [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def _rates(self) -> list[Any]:
        """Return the present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[Any]:
        """Return the present rates times a factor."""
        return [rate * factor for rate in self._rates()]

    def state_dict(self) -> dict[str, Any]:
        """Return all of the schedule's state but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        vars(self).update(state_dict)


def set_option(group: Group, name: str, value: Any) -> None:
    """Set an option of a group; a tensor is filled in place."""
    if isinstance(group[name], Tensor):
        group[name].fill_(value)
    else:
        group[name] = value.item() if isinstance(value, Tensor) else value


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
