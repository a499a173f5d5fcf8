"""The inside of a loader's worker process.

A worker and the loader talk over one two-way pipe, without locks or threads of the loader's, so
that a worker that dies leaves nobody waiting. The loader sends `Begin`, `Task` and None (leave);
the worker answers each task with a `Reply`.
"""

from __future__ import annotations

import itertools
import queue
import random
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from smelt.random import manual_seed
from smelt.runtime import set_num_threads
from smelt.utils.data.collate import default_collate
from smelt.utils.data.dataset import Dataset, IterableDataset


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker knows of itself.

    Attributes:
        id: its number, from 0.
        num_workers: how many there are.
        seed: what its random numbers begin with: the loader's seed plus `id`.
        dataset: its copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


@dataclass(frozen=True)
class Fetcher:
    """How batches are made of a dataset.

    Attributes:
        dataset: the dataset.
        collate: makes a batch of a list of samples, or converts one sample.
        batch_size: samples of an iterable dataset in a batch; None: samples come one by one.
        drop_last: whether a shorter last batch of an iterable dataset is left out.
        batched: whether a task holds a list of indices, not one index.
    """

    dataset: Any
    collate: Callable[[Any], Any]
    batch_size: int | None
    drop_last: bool
    batched: bool

    @property
    def iterable(self) -> bool:
        """Whether samples come one after the other, without indices."""
        return isinstance(self.dataset, IterableDataset)

    def fetch(self, indices: Any) -> Any:
        """Return the batch of some indices of a dataset that has indices."""
        if not self.batched:
            return self.collate(self.dataset[indices])
        if self.collate is default_collate and isinstance(self.dataset, Dataset):
            batch = self.dataset._collated(indices)
            if batch is not None:
                return batch
        many = getattr(self.dataset, "__getitems__", None)
        samples = [self.dataset[i] for i in indices] if many is None else many(indices)
        return self.collate(samples)

    def batches(self) -> Iterator[Any]:
        """Yield the batches of an iterable dataset."""
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate, samples)
            return
        while found := list(itertools.islice(samples, self.batch_size)):
            if len(found) < self.batch_size and self.drop_last:
                return
            yield self.collate(found)


@dataclass(frozen=True)
class Begin:
    """A pass over the data begins: number of the pass, and its seed."""

    epoch: int
    seed: int


@dataclass(frozen=True)
class Task:
    """Make batch `number` of pass `epoch`; of these indices, if the dataset has indices."""

    epoch: int
    number: int
    indices: Any


@dataclass(frozen=True)
class Reply:
    """The answer to a task.

    Attributes:
        epoch: pass of the task.
        number: number of the batch.
        batch: the batch, a `Failure`, or `EXHAUSTED`.
    """

    epoch: int
    number: int
    batch: Any


class Exhausted:
    """Stands for the batches that an iterable dataset does not have."""


@dataclass(frozen=True)
class Failure:
    """An exception on its way to the loader.

    Attributes:
        kind: its class; RuntimeError where that cannot be sent.
        text: its traceback.
        worker: number of the worker.
    """

    kind: type[BaseException]
    text: str
    worker: int

    @classmethod
    def of(cls, error: BaseException, worker: int) -> Failure:
        """Return the failure that stands for an exception."""
        text = "".join(traceback.format_exception(error))
        try:
            ForkingPickler.dumps(type(error))
        except (AttributeError, TypeError, ValueError, ImportError) as unsendable:
            return cls(RuntimeError, f"{text}({type(error).__name__}: {unsendable})", worker)
        return cls(type(error), text, worker)

    def reraise(self) -> None:
        """Raise an exception of the same class that tells the worker and the traceback."""
        message = (
            f"Caught {self.kind.__name__} in DataLoader worker process {self.worker}.\n"
            f"Original {self.text}"
        )
        try:
            error = self.kind(_Message(message) if self.kind is KeyError else message)
        except TypeError:
            # The class takes other arguments; its name stands in the message.
            raise RuntimeError(message) from None
        raise error


class _Message(str):
    """A text that shows as it is where an exception shows its argument's repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_current: WorkerInfo | None = None

# The loaders' ends of all pipes; a forked worker closes its copies, so that a pipe ends for the
# others when its loader goes.
LOADER_ENDS: weakref.WeakSet[Connection[Any, Any]] = weakref.WeakSet()


def get_worker_info() -> WorkerInfo | None:
    """Return what this worker knows of itself; None in the main process."""
    return _current


def work(
    connection: Connection[Any, Any],
    fetcher: Fetcher,
    worker: int,
    count: int,
    prepare: Callable[[int], None] | None,
) -> None:
    """Be worker `worker` of `count` until the loader goes."""
    for end in list(LOADER_ENDS):
        end.close()
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    try:
        _Worker(connection, fetcher, worker, count, prepare).run(tasks)
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        pass  # the loader deals with Ctrl-C, or is gone
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _listen(connection: Connection[Any, Any], tasks: queue.SimpleQueue[Any]) -> None:
    """Take in tasks at once, so that the loader never waits while it sends one."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            message = None  # the loader is gone
        tasks.put(message)
        if message is None:
            return


class _Worker:
    """A worker: the state of its pass over the data."""

    def __init__(
        self,
        connection: Connection[Any, Any],
        fetcher: Fetcher,
        worker: int,
        count: int,
        prepare: Callable[[int], None] | None,
    ) -> None:
        self._connection = connection
        self._fetcher = fetcher
        self._worker = worker
        self._count = count
        self._prepare = prepare
        self._batches: Iterator[Any] | None = None
        self._failure: Failure | None = None

    def run(self, tasks: queue.SimpleQueue[Any]) -> None:
        """Answer tasks until there is a None."""
        while (message := tasks.get()) is not None:
            match message:
                case Begin(_, seed):
                    self._begin(seed)
                case Task(epoch, number, indices):
                    batch = self._failure or self._answer(indices)
                    self._send(Reply(epoch, number, batch))
                case _:
                    raise AssertionError(f"the loader sent {message!r}")

    def _begin(self, seed: int) -> None:
        global _current
        own = seed + self._worker
        _current = WorkerInfo(self._worker, self._count, own, self._fetcher.dataset)
        _start(own)
        self._failure = None
        try:
            if self._prepare is not None:
                self._prepare(self._worker)
            self._batches = self._fetcher.batches() if self._fetcher.iterable else None
        except Exception as error:  # noqa: BLE001 (raised again by the loader)
            self._failure = Failure.of(error, self._worker)
        # A loader of several passes prepares its workers once.
        self._prepare = None

    def _answer(self, indices: Any) -> Any:
        try:
            if self._batches is None:
                return self._fetcher.fetch(indices)
            return next(self._batches, Exhausted())
        except Exception as error:  # noqa: BLE001 (raised again by the loader)
            return Failure.of(error, self._worker)

    def _send(self, reply: Reply) -> None:
        try:
            data = ForkingPickler.dumps(reply)
        except Exception as error:  # noqa: BLE001 (whatever a batch's own pickling raises)
            failure = Failure.of(error, self._worker)
            data = ForkingPickler.dumps(Reply(reply.epoch, reply.number, failure))
        self._connection.send_bytes(data)


def _start(seed: int) -> None:
    """Begin the random numbers of a worker; one thread each, since there are many workers."""
    set_num_threads(1)
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(seed % 2**32)
