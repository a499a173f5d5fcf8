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
from smelt.ir.errors import TraceError
from smelt.ir.graph import Graph
from smelt.state import mode
from smelt.tensor import Tensor
from smelt.tracing import segment
from smelt.tracing.build import build_graph
from smelt.tracing.recorder import Recorder
from smelt.tracing.steps import Step, root
from smelt.tree import leaves_of

_F = TypeVar("_F")


class CompiledFunction:
    """A function whose operations run as native programs.

    Attributes:
        graphs: the graphs built so far, as recorded, in the order in which they were first met.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """Wrap `function`; nothing is recorded before the first call."""
        self.graphs: list[Graph] = []
        self._function = function
        self._name = name
        self._root: Step = root()
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function.

        Raises:
            TraceError: the function does what capture cannot record; nothing has changed then.
        """
        if mode.tracer is not None:
            return self._function(*args, **kwargs)
        recorder = Recorder(self._root)
        mode.tracer = recorder
        try:
            result = self._function(*args, **kwargs)
        except TraceError as error:
            mode.tracer = None
            segment.abandon(recorder, str(error))
            raise
        except BaseException:
            # The user's own exception: what was done up to there is done, as it is eagerly.
            mode.tracer = None
            segment.finish(recorder, self._name, self.graphs)
            raise
        finally:
            mode.tracer = None
        segment.finish(recorder, self._name, self.graphs)
        return result

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to an instance, as functions do."""
        return self if instance is None else functools.partial(self.__call__, instance)

    def __repr__(self) -> str:
        return f"<compiled {self._name}>"


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
    if mode.tracer is not None:
        raise TraceError("trace() was called by a function that is being traced")
    recorder = Recorder(root())
    mode.tracer = recorder
    try:
        for argument in leaves_of((args, kwargs)):
            recorder.slot(argument)  # so that the graph's inputs are in the order of arguments
        result: Any = function(*args, **kwargs)
        outputs = [recorder.slot(t) for t in leaves_of(result)]
    except BaseException as error:
        segment.abandon(recorder, str(error))
        raise
    finally:
        mode.tracer = None
    outputs += [cell.root_slot for cell in recorder.cells if cell.written]
    name = getattr(function, "__name__", type(function).__name__)
    graph = build_graph(name, recorder.step, outputs)
    segment.abandon(recorder, "it was only traced")
    return graph
