"""How a module is called: forward, and the hooks around it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smelt.hooks import RemovableHandle
from smelt.tree import leaves_of

if TYPE_CHECKING:
    from smelt.tensor import Tensor

Hook = Callable[..., Any]


def _missing_forward(self: Calling, *input: Any) -> Any:
    """Compute the result; every module defines its own."""
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Calling:
    """The part of `Module` that runs it."""

    _forward_hooks: dict[int, Hook]
    _forward_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_always_called: dict[int, bool]
    _forward_pre_hooks: dict[int, Hook]
    _forward_pre_hooks_with_kwargs: dict[int, bool]
    _backward_hooks: dict[int, Hook]
    _backward_pre_hooks: dict[int, Hook]
    _is_full_backward_hook: bool | None

    forward: Callable[..., Any] = _missing_forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and `forward`."""
        if not (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        ):
            return self.forward(*args, **kwargs)
        return self._call_impl(*args, **kwargs)

    def _slow_forward(self, *input: Any, **kwargs: Any) -> Any:
        return self.forward(*input, **kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        for number, hook in list(self._forward_pre_hooks.items()):
            if number in self._forward_pre_hooks_with_kwargs:
                replaced = hook(self, args, kwargs)
                if replaced is not None:
                    if not (isinstance(replaced, tuple) and len(replaced) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, "
                            f"new_kwargs), but got {replaced!r}."
                        )
                    args, kwargs = replaced
            else:
                replaced = hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        boundary = None
        if self._backward_pre_hooks or (self._backward_hooks and self._is_full_backward_hook):
            from smelt.nn.backward_hooks import Boundary

            boundary = Boundary(self, self._backward_hooks, self._backward_pre_hooks)
            args = boundary.enter(args)
        called: set[int] = set()
        try:
            result = self._slow_forward(*args, **kwargs)
            for number, hook in list(self._forward_hooks.items()):
                called.add(number)
                result = self._hooked(number, hook, args, kwargs, result)
        except Exception:
            for number, hook in list(self._forward_hooks.items()):
                if number in self._forward_hooks_always_called and number not in called:
                    self._hooked(number, hook, args, kwargs, None)
            raise
        if boundary is not None:
            return boundary.leave(result)
        if self._backward_hooks:
            self._hook_legacy(result)
        return result

    def _hooked(self, number: int, hook: Hook, args: Any, kwargs: Any, result: Any) -> Any:
        if number in self._forward_hooks_with_kwargs:
            replaced = hook(self, args, kwargs, result)
        else:
            replaced = hook(self, args, result)
        return result if replaced is None else replaced

    def _hook_legacy(self, result: Any) -> None:
        tensors: list[Tensor] = [t for t in leaves_of(result) if t._node is not None]
        if not tensors:
            return
        node = tensors[0].grad_fn
        assert node is not None, "the tensor has a node"
        for hook in self._backward_hooks.values():
            node.register_hook(lambda given, taken, hook=hook: hook(self, given, taken))

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; it may return new arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)` and may return both.
        """
        marks = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        return RemovableHandle(self._forward_pre_hooks, hook, prepend, marks)

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; it may return a new output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`; with `always_call` it is
        called even if forward raises.
        """
        marks: list[dict[int, bool]] = []
        if with_kwargs:
            marks.append(self._forward_hooks_with_kwargs)
        if always_call:
            marks.append(self._forward_hooks_always_called)
        return RemovableHandle(self._forward_hooks, hook, prepend, marks)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` once gradients of the inputs are known.

        It may return new gradients of the inputs.

        Raises:
            RuntimeError: the module has a legacy backward hook.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module."
            )
        self._is_full_backward_hook = True
        return RemovableHandle(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` when gradients arrive; it may return new ones."""
        return RemovableHandle(self._backward_pre_hooks, hook, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` at the last operation of forward.

        Deprecated by PyTorch in favour of `register_full_backward_hook`.
        """
        if self._is_full_backward_hook is True:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module."
            )
        warnings.warn(
            "register_backward_hook sees the gradients of the last operation of forward only; use "
            "register_full_backward_hook",
            FutureWarning,
            stacklevel=2,
        )
        self._is_full_backward_hook = False
        return RemovableHandle(self._backward_hooks, hook)
