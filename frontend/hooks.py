"""Handles of registered hooks, whatever they are registered with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from smelt.state import settings

_numbers = itertools.count()


class RemovableHandle:
    """Removes a hook; as a context, at its end.

    Attributes:
        id: key of the hook in its table.
    """

    def __init__(
        self,
        hooks: MutableMapping[int, Any],
        hook: Callable[..., Any],
        prepend: bool = False,
        marks: Sequence[MutableMapping[int, bool]] = (),
    ) -> None:
        """Register a hook.

        Args:
            hooks: ordered table of hooks by number.
            hook: what is called.
            prepend: whether it goes to the front of the table.
            marks: tables that say by the hook's number how it is to be called.
        """
        self.id = next(_numbers)
        self._tables = (hooks, *marks)
        later = {} if not prepend else dict(hooks)
        if prepend:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(later)
        for mark in marks:
            mark[self.id] = True
        settings.epoch += 1

    def remove(self) -> None:
        """Remove the hook; nothing happens if it is gone already."""
        for table in self._tables:
            table.pop(self.id, None)
        settings.epoch += 1

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
