"""A compiled function: what is called in place of the user's, and the graph of one call."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from typing import Any

from smelt.ir.errors import TraceError
from smelt.ir.graph import Graph
from smelt.state import mode
from smelt.tracing import segment
from smelt.tracing.build import build_graph
from smelt.tracing.recorder import Recorder
from smelt.tracing.steps import Step, root
from smelt.tree import leaves_of


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

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        """Return one that starts anew: what was compiled belongs to the tensors of the original."""
        return CompiledFunction(copy.deepcopy(self._function, memo), self._name)

    def __reduce__(self) -> Any:
        """Give pickle the function alone, or the name under which this one stands in its module."""
        home = sys.modules.get(getattr(self._function, "__module__", ""))
        found: Any = home
        path = getattr(self._function, "__qualname__", "")
        for part in path.split("."):
            found = getattr(found, part, None)
        return path if found is self else (CompiledFunction, (self._function, self._name))

    def __repr__(self) -> str:
        return f"<compiled {self._name}>"


def graph_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    """Return the graph that a call records; nothing is run, and nothing changes."""
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
