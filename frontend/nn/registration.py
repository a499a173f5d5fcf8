"""What a module is made of: parameters, buffers, submodules, and how attributes become them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from smelt.base import TensorBase
from smelt.nn.parameter import Parameter
from smelt.state import settings

if TYPE_CHECKING:
    from smelt.nn.module import Module
    from smelt.tensor import Tensor

_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Registration:
    """The part of `Module` that keeps parameters, buffers and submodules."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Registration):
            self.add_module(name, value)  # type: ignore[arg-type]
        elif "_parameters" in state and name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__} to the parameter '{name}': expected "
                    "nn.Parameter or None"
                )
            self._parameters[name] = None
        elif "_modules" in state and name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__} to the submodule '{name}': expected "
                    "nn.Module or None"
                )
            self._modules[name] = None
        elif "_buffers" in state and name in self._buffers:
            if value is not None and not isinstance(value, TensorBase):
                raise TypeError(
                    f"cannot assign {type(value).__name__} to the buffer '{name}': expected "
                    "Tensor or None"
                )
            self._buffers[name] = value  # type: ignore[assignment]
        else:
            object.__setattr__(self, name, value)
        settings.epoch += 1

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        for registry in _REGISTRIES:
            found = state.get(registry)
            if found is not None and name in found:
                return found[name]
        hint = "" if "_parameters" in state else "; was super().__init__() called?"
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{hint}")

    def __delattr__(self, name: str) -> None:
        for registry in _REGISTRIES:
            if name in self.__dict__.get(registry, ()):
                del self.__dict__[registry][name]
                self._non_persistent_buffers_set.discard(name)
                break
        else:
            object.__delattr__(self, name)
        settings.epoch += 1

    def __dir__(self) -> list[str]:
        names = set(super().__dir__())
        for registry in _REGISTRIES:
            names.update(self.__dict__.get(registry, ()))
        return sorted(n for n in names if not n[:1].isdigit())

    def _check_name(self, name: object, what: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign a {what} before Module.__init__() was called")
        if not isinstance(name, str):
            raise TypeError(f"the name of a {what} must be a string, not {type(name).__name__}")
        if "." in name:
            raise KeyError(f"the name of a {what} cannot contain '.': {name!r}")
        if not name:
            raise KeyError(f"the name of a {what} cannot be empty")

    def _claim(self, name: str, registry: str) -> None:
        """Take a name away from plain attributes and the other registries."""
        self.__dict__.pop(name, None)
        for other in _REGISTRIES:
            if other != registry:
                self.__dict__[other].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name without one."""
        self._check_name(name, "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign {type(param).__name__} to the parameter '{name}': expected "
                "nn.Parameter or None"
            )
        if param is not None and param._node is not None:
            raise ValueError(f"the parameter '{name}' must be a leaf, not a result of operations")
        if hasattr(self, name) and name not in self._parameters and name not in self.__dict__:
            self._claim_or_refuse(name)
        self._claim(name, "_parameters")
        self._parameters[name] = param
        settings.epoch += 1

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter; kept in `state_dict` if `persistent`."""
        self._check_name(name, "buffer")
        if tensor is not None and not isinstance(tensor, TensorBase):
            raise TypeError(
                f"cannot assign {type(tensor).__name__} to the buffer '{name}': expected Tensor "
                "or None"
            )
        if hasattr(self, name) and name not in self._buffers:
            raise KeyError(f"attribute '{name}' already exists")
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)
        settings.epoch += 1

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule; None keeps the name without one."""
        self._check_name(name, "submodule")
        if module is not None and not isinstance(module, Registration):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        if hasattr(self, name) and name not in self._modules and name not in self.__dict__:
            self._claim_or_refuse(name)
        self._claim(name, "_modules")
        self._modules[name] = module
        settings.epoch += 1

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a submodule, as `add_module` does."""
        self.add_module(name, module)

    def _claim_or_refuse(self, name: str) -> None:
        if not any(name in self.__dict__[registry] for registry in _REGISTRIES):
            raise KeyError(f"attribute '{name}' already exists")

    # -- looking through -----------------------------------------------------------------------

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) of the direct submodules, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(
        self,
        memo: set[Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) of this module and all below it."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)  # type: ignore[arg-type]
        yield prefix, self  # type: ignore[misc]
        for name, module in self._modules.items():
            if module is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, below, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter), each parameter once unless `remove_duplicate` is off."""
        yield from self._named("_parameters", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (dotted name, buffer), each buffer once unless `remove_duplicate` is off."""
        yield from self._named("_buffers", prefix, recurse, remove_duplicate)

    def _named(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in owners:
            for name, item in module.__dict__[registry].items():
                if item is None or (remove_duplicate and id(item) in seen):
                    continue
                seen.add(id(item))
                yield (f"{path}.{name}" if path else name), item

    def get_submodule(self, target: str) -> Module:
        """Return the submodule at a dotted path; "" is this module.

        Raises:
            AttributeError: there is none.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Registration):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return cast("Module", module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a dotted path; AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"there is no parameter `{target}`")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a dotted path; AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise AttributeError(f"there is no buffer `{target}`")
        return found
