"""A module whose calls run as native programs."""

from __future__ import annotations

from typing import Any

from smelt.ir.graph import Graph
from smelt.nn.module import Module
from smelt.tracing.function import CompiledFunction


class CompiledModule(Module):
    """What `smelt.compile` makes of a module; it shares the module's parameters and modes.

    The module is the submodule `_orig_mod`, as in PyTorch, so keys of `state_dict` begin with it.
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module
        self.__dict__["training"] = module.training
        self.__dict__["_compiled"] = CompiledFunction(module, type(module).__name__)

    @property
    def graphs(self) -> list[Graph]:
        """The graphs built so far, as recorded."""
        return self.__dict__["_compiled"].graphs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, compiled."""
        return self.__dict__["_compiled"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)

    def _get_name(self) -> str:
        return "OptimizedModule"
