"""Modes of differentiation, each a context, a decorator, or both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from smelt.state import mode, settings

F = TypeVar("F", bound=Callable[..., Any])


class _Mode:
    """A context that also decorates functions, generator functions among them."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make a context; given a function, as by `@no_grad` without a call, decorate it."""
        if args and callable(args[0]):
            return cls()(args[0])
        return super().__new__(cls)

    def __enter__(self) -> None:
        raise AssertionError("a mode says how it is entered")

    def __exit__(self, *exception: object) -> None:
        raise AssertionError("a mode says how it is left")

    def _again(self) -> _Mode:
        """Return a context like this one that has not been entered."""
        return type(self)()

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return functools.wraps(function)(self._steps(function))  # type: ignore[return-value]

        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return within  # type: ignore[return-value]

    def _steps(self, function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
        def stepwise(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **kwargs)
            sent: Any = None
            while True:
                try:
                    with self._again():
                        found = generator.send(sent)
                except StopIteration as stop:
                    return stop.value
                sent = yield found

        return stepwise


class no_grad(_Mode):
    """Within it, operations are not taped and results do not require grad."""

    def __enter__(self) -> None:
        self._before = mode.grad
        mode.grad = False
        settings.epoch += 1

    def __exit__(self, *exception: object) -> None:
        mode.grad = self._before
        settings.epoch += 1


class enable_grad(_Mode):
    """Within it, operations are taped, also inside of `no_grad`."""

    def __enter__(self) -> None:
        self._before = mode.grad
        mode.grad = True
        settings.epoch += 1

    def __exit__(self, *exception: object) -> None:
        mode.grad = self._before
        settings.epoch += 1


class set_grad_enabled(_Mode):
    """Turn taping on or off from here on; as a context, until its end."""

    def __init__(self, mode: bool) -> None:
        self._before = _set_grad(mode)
        self._mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _set_grad(self._before)

    def _again(self) -> _Mode:
        return set_grad_enabled(self._mode)

    def __call__(self, function: F) -> F:
        _set_grad(self._before)
        return super().__call__(function)


class inference_mode(_Mode):
    """`no_grad`, and results may never take part in a computation that is taped."""

    def __init__(self, mode: bool = True) -> None:
        self._mode = mode

    def __enter__(self) -> None:
        self._before = (mode.grad, mode.inference)
        if self._mode:
            mode.grad = False
        mode.inference = self._mode
        settings.epoch += 1

    def __exit__(self, *exception: object) -> None:
        mode.grad, mode.inference = self._before
        settings.epoch += 1

    def _again(self) -> _Mode:
        return inference_mode(self._mode)


def _set_grad(value: bool) -> bool:
    before = mode.grad
    mode.grad = bool(value)
    settings.epoch += 1
    return before


def is_grad_enabled() -> bool:
    """Tell whether operations are taped."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Tell whether results are inference tensors."""
    return mode.inference
