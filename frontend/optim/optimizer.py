"""What optimisers share: parameter groups, state, its saving and loading, hooks."""

from __future__ import annotations

import copy
import functools
import itertools
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, overload

from smelt.autograd.modes import enable_grad, no_grad
from smelt.hooks import RemovableHandle
from smelt.state import settings
from smelt.tensor import Tensor

Group = dict[str, Any]
Hook = Callable[..., Any]


class _Required:
    """Stands for an option without a default."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


class Optimizer(ABC):
    """Changes parameters by their gradients.

    A subclass defines `step`, which is run with the hooks around it.

    Attributes:
        param_groups: dicts with "params", a list, and the options that hold for them.
        state: what is kept for each parameter between steps.
        defaults: options of a group that does not name them.
    """

    param_groups: list[Group]
    state: defaultdict[Any, Any]
    defaults: dict[str, Any]

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        """Take the parameters.

        Args:
            params: tensors, (name, tensor) pairs, or dicts with "params" and options.
            defaults: options of groups that do not name them.

        Raises:
            TypeError: `params` is a tensor, or holds what is none.
            ValueError: there are no parameters, or one that cannot be optimised.
        """
        self.defaults = dict(defaults)
        self.state = defaultdict(dict)
        self.param_groups = []
        self._make_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {type(params).__name__}"
            )
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _make_hooks(self) -> None:
        self._stepped = False
        self._step_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._state_dict_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._state_dict_post_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._load_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
        self._load_post_hooks: OrderedDict[int, Hook] = OrderedDict()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], Any]) -> Any: ...
    @abstractmethod
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once.

        Args:
            closure: evaluates the model anew and returns the loss; called with gradients on.

        Returns:
            The closure's loss; None without one.
        """

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        with no_grad():
            for parameter in self._parameters():
                if parameter.grad is None:
                    continue
                if set_to_none:
                    parameter.grad = None
                else:
                    if parameter.grad.grad_fn is not None:
                        parameter.grad.detach_()
                    else:
                        parameter.grad.requires_grad_(False)
                    parameter.grad.zero_()

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, such as layers that are no longer frozen.

        Args:
            param_group: "params" and the options that differ from the defaults.

        Raises:
            TypeError: it is no dict, its parameters are a set, or one of them is no tensor.
            ValueError: a parameter is no leaf or is in another group, or an option is missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, (set, frozenset)):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params, names = _split_names(list(params))
        group = {**param_group, "params": params}
        if names is not None:
            group["param_names"] = names
        if self.param_groups and ("param_names" in self.param_groups[0]) != (names is not None):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if names is not None else 'without'} names to the optimizer"
            )
        for parameter in params:
            _check_parameter(parameter)
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            group.setdefault(name, default)
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; they are "
                "updated more than once in each step",
                stacklevel=3,
            )
        known = {id(p) for p in self._parameters()}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)
        settings.epoch += 1

    def _parameters(self) -> Iterator[Any]:
        for group in self.param_groups:
            yield from group["params"]

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the options; parameters are numbered in order."""
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        for parameter in self._parameters():
            numbers.setdefault(id(parameter), len(numbers))
        groups = [
            {**_options(group), "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {(numbers[id(k)] if isinstance(k, Tensor) else k): v for k, v in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():
            replaced = hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and options that `state_dict` gave.

        Raises:
            ValueError: the groups are not of the same number or sizes.
        """
        loaded = dict(state_dict)
        for hook in self._load_pre_hooks.values():
            replaced = hook(self, loaded)
            loaded = loaded if replaced is None else replaced
        mine = self.param_groups
        theirs = copy.deepcopy(loaded["param_groups"])
        if len(mine) != len(theirs):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(mine, theirs)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        numbers = itertools.chain.from_iterable(g["params"] for g in theirs)
        by_number: dict[Hashable, Tensor] = dict(zip(numbers, self._parameters()))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in loaded["state"].items():
            if key in by_number:
                state[by_number[key]] = _converted(value, by_number[key])
            else:
                state[key] = value
        groups: list[Group] = []
        for old, new in zip(mine, theirs):
            new["params"] = old["params"]
            if "param_names" in old:
                new.setdefault("param_names", old["param_names"])
            groups.append(new)
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in self._load_post_hooks.values():
            hook(self)
        settings.epoch += 1

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return both changed."""
        return RemovableHandle(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return RemovableHandle(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return RemovableHandle(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; it may return another."""
        return RemovableHandle(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; it may return another."""
        return RemovableHandle(self._load_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return RemovableHandle(self._load_post_hooks, hook, prepend)

    def __getstate__(self) -> dict[str, Any]:
        names = ("defaults", "state", "param_groups")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_step_pre_hooks" not in self.__dict__:
            self._make_hooks()
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)

    def __repr__(self) -> str:
        groups: list[str] = []
        for number, group in enumerate(self.param_groups):
            options = [f"    {k}: {group[k]}\n" for k in sorted(group) if k != "params"]
            groups.append(f"\nParameter Group {number}\n{''.join(options)}")
        return f"{type(self).__name__} ({''.join(groups)})"


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def stepped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if type(self).step is not stepped:
            return step(self, *args, **kwargs)  # a subclass has called its base's step
        for hook in self._step_pre_hooks.values():
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"{type(self).__name__}: a step pre-hook must return None or a tuple of "
                        f"(new_args, new_kwargs), but got {changed}"
                    )
                args, kwargs = changed
        self._stepped = True
        result = step(self, *args, **kwargs)
        for hook in self._step_post_hooks.values():
            hook(self, args, kwargs)
        return result

    return stepped


def loss_of(closure: Callable[[], Any] | None) -> Any:
    """Return the loss that a closure gives, evaluated with gradients on; None without one."""
    if closure is None:
        return None
    with enable_grad():
        return closure()


def _split_names(params: list[Any]) -> tuple[list[Any], list[str] | None]:
    """Return (parameters, their names or None) of a list of tensors or (name, tensor) pairs."""
    named = [isinstance(p, tuple) for p in params]
    if not any(named):
        return params, None
    if not all(named):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    return [p for _, p in params], [name for name, _ in params]


def _check_parameter(parameter: Any) -> None:
    if not isinstance(parameter, Tensor):
        raise TypeError(
            f"optimizer can only optimize Tensors, but one of the params is "
            f"{type(parameter).__name__}"
        )
    if parameter._node is not None:
        raise ValueError("can't optimize a non-leaf Tensor")


def _options(group: Group) -> Group:
    return {name: value for name, value in group.items() if name != "params"}


def _converted(value: Any, parameter: Tensor, name: str | None = None) -> Any:
    """Return loaded state in the parameter's dtype where it is a floating one, copied."""
    if isinstance(value, Tensor):
        if name != "step" and parameter.is_floating_point():
            return value.to(parameter.dtype, copy=True)
        return value.clone()
    if isinstance(value, dict):
        return {k: _converted(v, parameter, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_converted(v, parameter) for v in value)
    return copy.deepcopy(value)
