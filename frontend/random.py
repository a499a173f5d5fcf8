"""Generators: where in the stream of random numbers the next draw begins."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from smelt.base import wrap
from smelt.ir import dtypes

if TYPE_CHECKING:
    from smelt.tensor import Tensor

_DEFAULT_SEED = 67280421310721
_INT64 = 1 << 64


class Generator:
    """A position in a Philox stream.

    Attributes:
        offset: number of 4-word blocks that were drawn.
    """

    def __init__(self, device: object = "cpu") -> None:
        self.device = device
        self._seed = _DEFAULT_SEED
        self.offset = 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` (taken modulo 2**64) from its beginning."""
        with self._lock:
            self._seed = _signed(int(seed))
            self.offset = 0
        return self

    def seed(self) -> int:
        """Start the stream of a seed that nobody knows, and return the seed."""
        import secrets

        chosen = secrets.randbits(53)
        self.manual_seed(chosen)
        return chosen

    def initial_seed(self) -> int:
        """Return the seed of the stream."""
        return self._seed

    def draw(self, blocks: int) -> tuple[int, int]:
        """Return seed and offset of a draw of `blocks` 4-word blocks, and move on behind it."""
        with self._lock:
            offset = self.offset
            self.offset = offset + blocks
            return self._seed, offset

    def get_state(self) -> Tensor:
        """Return the state as 16 bytes."""
        state = np.array([self._seed, self.offset], np.int64)
        return wrap(state.view(np.uint8).copy())

    def set_state(self, new_state: Tensor) -> Generator:
        """Go to a state that `get_state` gave."""
        if new_state.dtype is not dtypes.uint8 or new_state._sizes != (16,):
            raise TypeError(
                "a generator's state is a uint8 tensor of shape [16], not "
                f"{new_state.dtype.torch_name} of shape {list(new_state._sizes)}"
            )
        seed, offset = new_state._concrete("it is a generator's state").copy().view(np.int64)
        with self._lock:
            self._seed, self.offset = int(seed), int(offset)
        return self

    def clone_state(self) -> Generator:
        """Return another generator at the same place."""
        other = Generator(self.device)
        other._seed, other.offset = self._seed, self.offset
        return other

    def __getstate__(self) -> dict[str, object]:
        return {"device": self.device, "_seed": self._seed, "offset": self.offset}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _signed(value: int) -> int:
    value %= _INT64
    return value - _INT64 if value >= _INT64 // 2 else value


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default stream of random numbers of `seed`."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default stream of a seed that nobody knows, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed of the default stream."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the state of the default stream."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Go to a state of the default stream that `get_rng_state` gave."""
    default_generator.set_state(new_state)
