"""What compiled programs keep between calls: packed weights, and when to pack them again.

A program may derive memory from inputs that seldom change. That memory is right for as long as
these inputs are the same storages, at the same place, in the same write epoch. NumPy writes without
an epoch: over memory that it sees runs another program, which keeps nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smelt.runtime.executable import DataError, Executable, Kept
from smelt.storage import Storage

if TYPE_CHECKING:
    from smelt.hosted import HostedProgram

    Program = Executable | HostedProgram


@dataclass(frozen=True, slots=True, eq=False)
class _Derived:
    """What was derived from some storages.

    Attributes:
        storages: they; a dead one drops the entry.
        epochs: their write epochs when it was derived.
        kept: the memory.
    """

    storages: tuple[weakref.ref[Storage], ...]
    epochs: tuple[int, ...]
    kept: Kept


class KeptMemory:
    """What one program derived, for each set of weights that it is called with.

    Calls of several threads need no lock: entries are never changed, only replaced, and a call
    holds on to the one that it uses. At worst two threads derive the same.
    """

    def __init__(self, native: Executable, plain: Callable[[], Program]) -> None:
        """Begin with nothing derived.

        Args:
            native: the program.
            plain: compiles the same program so that it keeps nothing.
        """
        self._native = native
        self._inputs = native.signature.kept_inputs
        self._found: dict[tuple[int, ...], _Derived] = {}
        self._compile_plain = plain
        self._plain: Program | None = None

    def run(
        self, bound: Sequence[Any], arguments: Sequence[int], addresses: Sequence[int]
    ) -> DataError | None:
        """Run the program; see `Executable.run`.

        Args:
            bound: what fills each input; tensors where something is derived from it.
            arguments: address of each input.
            addresses: address of each output.
        """
        storages: list[Storage] = [bound[n]._storage for n in self._inputs]
        if any(s.shared for s in storages):
            if self._plain is None:
                self._plain = self._compile_plain()
            return self._plain.run(arguments, addresses)
        # Addresses tell views of one storage apart, too.
        kept = self._for_call(storages, tuple([arguments[n] for n in self._inputs]), arguments)
        return self._native.run(arguments, addresses, (), kept)

    def _for_call(
        self, storages: Sequence[Storage], key: tuple[int, ...], arguments: Sequence[int]
    ) -> Kept:
        """Return the memory for a call, derived now if what there is is stale."""
        epochs = tuple([s.epoch for s in storages])
        found = self._found.get(key)
        if (
            found is not None
            and found.epochs == epochs
            and all(r() is s for r, s in zip(found.storages, storages))
        ):
            return found.kept
        kept = self._native.derive(arguments)
        entries = self._found
        references = tuple([weakref.ref(s, lambda _: _drop(entries, key)) for s in storages])
        entries[key] = _Derived(references, epochs, kept)
        return kept


def kept_of(native: Program, plain: Callable[[], Program]) -> KeptMemory | None:
    """Return what holds the kept memory of a program; None if it keeps nothing."""
    if isinstance(native, Executable) and native.signature.kept_bytes:
        return KeptMemory(native, plain)
    return None


def _drop(entries: dict[tuple[int, ...], _Derived], key: tuple[int, ...]) -> None:
    """Let go of what was derived from a storage that has died."""
    found = entries.get(key)
    # The place may be another tensor's by now.
    if found is not None and any(reference() is None for reference in found.storages):
        entries.pop(key, None)
