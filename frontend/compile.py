"""`smelt.compile` and `smelt.trace`: record what a function does, make one program of it.

The function's Python runs on every call; its operations are recorded, found again by their
structure, and run as one native program when it returns. Nothing can be baked in: whatever Python
decides, it decides anew each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

from smelt.functions import joining
from smelt.tensor import Tensor

_F = TypeVar("_F")


@overload
def compile(
    model: _F,
    *,
    fullgraph: bool = ...,
    dynamic: bool | None = ...,
    backend: str = ...,
    mode: str | None = ...,
    options: dict[str, Any] | None = ...,
    disable: bool = ...,
) -> _F: ...
@overload
def compile(
    model: None = None,
    *,
    fullgraph: bool = ...,
    dynamic: bool | None = ...,
    backend: str = ...,
    mode: str | None = ...,
    options: dict[str, Any] | None = ...,
    disable: bool = ...,
) -> Callable[[_F], _F]: ...
def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "native",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Compile a function, a module, or a whole training step.

    Args:
        model: a function or an `nn.Module`; None where this is used as a decorator with options.
        fullgraph: whether a value that Python needs is an error; it always is so far.
        dynamic: accepted for PyTorch's sake; programs are made for the sizes they are called with.
        backend: "native" (also called "inductor"), or "eager", which runs without compiling.
        mode: accepted for PyTorch's sake: "default", "reduce-overhead", "max-autotune" do the same.
        options: none are known so far.
        disable: return `model` as it is.

    Returns:
        What is called as `model` is. A module is returned as a module that shares its parameters.

    Raises:
        ValueError: an unknown backend, mode or option.
        TypeError: `model` cannot be called.
    """
    if backend not in ("native", "inductor", "eager"):
        raise ValueError(f"unknown backend {backend!r}: expected 'native', 'inductor' or 'eager'")
    modes = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    if mode not in modes:
        raise ValueError(f"unknown mode {mode!r}: expected one of {modes[1:]}")
    if options:
        raise ValueError(f"unknown options {sorted(options)}")
    if model is None:
        return functools.partial(
            compile,
            fullgraph=fullgraph,
            dynamic=dynamic,
            backend=backend,
            mode=mode,
            disable=disable,
        )
    if disable or backend == "eager":
        return model
    from smelt.nn import Module
    from smelt.tracing.function import CompiledFunction

    if isinstance(model, Module):
        from smelt.nn.compiled import CompiledModule

        return CompiledModule(model)
    if not callable(model):
        raise TypeError(f"compile takes a function or a module, not {type(model).__name__}")
    return CompiledFunction(model, getattr(model, "__name__", type(model).__name__))


def trace(function: Callable[..., Any] | Tensor, *args: Any, **kwargs: Any) -> Any:
    """Return the graph that a call records; nothing is run, and nothing changes.

    PyTorch's `trace` is another thing, the sum of a matrix's diagonal: that is what a tensor in
    place of the function gives.

    Args:
        function: a function or a module.
        args: example arguments; their elements are not read, unless the function asks for them.
        kwargs: likewise, by name.

    Returns:
        A graph whose inputs are the arguments and then the other tensors met, and whose outputs
        are the tensors returned, then the new contents of each storage that was written.

    Raises:
        TraceError: the function does what capture cannot record.
    """
    if isinstance(function, Tensor):
        return joining.trace(function)
    from smelt.tracing.function import graph_of

    return graph_of(function, args, kwargs)
