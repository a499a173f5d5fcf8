"""A schedule made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from smelt.optim.lr_scheduler.base import LRScheduler, set_option
from smelt.optim.optimizer import Optimizer


class SequentialLR(LRScheduler):
    """One schedule after the other, each beginning anew at its milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        """Take the schedules and the steps at which the second and later ones begin.

        Raises:
            ValueError: no schedules, one of another optimiser, or not one milestone fewer.
        """
        if not schedulers:
            raise ValueError(f"{type(self).__name__} expects at least one scheduler to be chained")
        for number, scheduler in enumerate(schedulers):
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"{type(self).__name__} expects all schedulers to belong to the same "
                    f"optimizer, but scheduler {number} does not"
                )
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                f"the number of milestone points, but got {len(schedulers)} schedulers and "
                f"{len(milestones)} milestones"
            )
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.optimizer = optimizer
        self.last_epoch = last_epoch + 1
        # Making the schedules has set the rates already: go back and begin with the first alone.
        for group in optimizer.param_groups:
            set_option(group, "lr", group["initial_lr"])
        _step_back(self._schedulers)
        self._schedulers[0]._initial_step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def get_lr(self) -> list[Any]:
        """Return the present rates."""
        return self._rates()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step; `epoch` must be None.

        Raises:
            ValueError: `epoch` is given.
        """
        if epoch is not None:
            raise ValueError("SequentialLR goes step by step: call step() without an epoch")
        self.last_epoch += 1
        current = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[current]
        if current > 0 and self._milestones[current - 1] == self.last_epoch:
            scheduler._step_count += 1
            scheduler._go_to(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, those of the schedules included."""
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_schedulers")}
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        rest = dict(state_dict)
        for scheduler, state in zip(self._schedulers, rest.pop("_schedulers")):
            scheduler.load_state_dict(state)
        vars(self).update(rest)


def _step_back(schedulers: Sequence[LRScheduler]) -> None:
    for scheduler in schedulers:
        if isinstance(scheduler, SequentialLR):
            _step_back(scheduler._schedulers)
        else:
            scheduler.last_epoch -= 1
