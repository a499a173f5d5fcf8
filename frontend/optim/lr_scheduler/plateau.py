"""A schedule that follows a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from smelt.optim.lr_scheduler.base import LRScheduler, set_option
from smelt.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """The rate times `factor` when a metric has not improved for `patience` epochs.

    Attributes:
        best: the best value so far.
        num_bad_epochs: epochs since it improved.
        cooldown_counter: epochs for which the metric is not looked at yet.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
        verbose: bool | None = None,
    ) -> None:
        """Take what counts as an improvement and what follows when there is none.

        Args:
            optimizer: whose rates are set.
            mode: whether the metric should fall ("min") or rise ("max").
            factor: what the rates are multiplied by, below 1.
            patience: epochs without improvement that are let pass.
            threshold: how much better counts as better.
            threshold_mode: whether that is relative to the best value or absolute.
            cooldown: epochs to wait after a change.
            min_lr: the least rate, for all groups or each.
            eps: a change smaller than this is not made.
            verbose: accepted for old programs' sake, and ignored.

        Raises:
            TypeError: `optimizer` is none.
            ValueError: an option is outside its domain.
        """
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.optimizer = optimizer
        count = len(optimizer.param_groups)
        if isinstance(min_lr, Sequence):
            if len(min_lr) != count:
                raise ValueError(f"expected {count} min_lrs, got {len(min_lr)}")
            self.min_lrs: list[Any] = list(min_lr)
        else:
            self.min_lrs = [min_lr] * count
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.last_epoch = 0
        self._last_lr = self._rates()
        self._reset()

    def _reset(self) -> None:
        """Forget the best value and the epochs since."""
        self.best = float("inf") if self.mode == "min" else float("-inf")
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def get_lr(self) -> list[Any]:
        """Return the present rates."""
        return self._rates()

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at the metric of an epoch, a number or a tensor of one element."""
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                set_option(group, "lr", new)

    @property
    def in_cooldown(self) -> bool:
        """Whether the metric is not looked at yet."""
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        """Tell whether `a` improves on `best`."""
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            needed = best * (1.0 + sign * self.threshold)
        else:
            needed = best + sign * self.threshold
        return a < needed if self.mode == "min" else a > needed
