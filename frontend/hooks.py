"""Handles of registered hooks, whatever they are registered with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, MutableMapping
from typing import Any

_numbers = itertools.count()


class RemovableHandle:
    """Removes a hook; as a context, at its end.

    Attributes:
        id: key of the hook in its table.
    """

    def __init__(
        self, hooks: MutableMapping[int, Any], hook: Callable[..., Any], prepend: bool = False
    ) -> None:
        """Put `hook` at the end of the ordered table `hooks`, or at its front."""
        self.id = next(_numbers)
        self._hooks = hooks
        later = {} if not prepend else dict(hooks)
        if prepend:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(later)

    def remove(self) -> None:
        """Remove the hook; nothing happens if it is gone already."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
