"""The loader: batches of a dataset, made here or in worker processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from smelt.functions.draws import randint
from smelt.utils.data.collate import default_collate, default_convert
from smelt.utils.data.dataset import Dataset, IterableDataset
from smelt.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from smelt.utils.data.worker import Exhausted, Failure, Fetcher, Task
from smelt.utils.data.workers import Workers

if TYPE_CHECKING:
    from smelt.random import Generator

T = TypeVar("T", covariant=True)

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader(Generic[T]):
    """Iterates over the batches of a dataset; each `iter` is a pass.

    Attributes:
        dataset: where samples come from.
        batch_size: samples in a batch; None where a batch sampler decides, or without batches.
        sampler: order of the samples.
        batch_sampler: lists of indices; None without batches.
        num_workers: processes that make batches; 0: they are made here.
        collate_fn: makes a batch of a list of samples.
    """

    def __init__(
        self,
        dataset: Dataset[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[T]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        """Take the dataset and how to go through it.

        Args:
            dataset: with indices, or an `IterableDataset`.
            batch_size: samples in a batch; None: samples come one by one, unbatched.
            shuffle: whether each pass has a random order.
            sampler: gives the indices instead.
            batch_sampler: gives lists of indices instead.
            num_workers: processes that make batches.
            collate_fn: makes a batch of a list of samples; None: `default_collate`.
            pin_memory: accepted for PyTorch's sake; memory of the CPU needs no pinning.
            drop_last: whether a shorter last batch is left out.
            timeout: seconds to wait for a batch of a worker; 0: as long as it takes.
            worker_init_fn: called with a worker's number in that worker.
            multiprocessing_context: of `multiprocessing`, or its name.
            generator: of random numbers for shuffling and for the workers' seeds.
            prefetch_factor: batches that each worker makes ahead; None: 2.
            persistent_workers: whether workers are kept from pass to pass.
            pin_memory_device: see `pin_memory`.
            in_order: whether batches come in order, not as workers finish them.

        Raises:
            ValueError: options that exclude each other, or outside their domains.
        """
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.in_order = in_order
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            if shuffle:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified shuffle option, but "
                    f"got {shuffle=}"
                )
            if sampler is not None or batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified sampler and "
                    "batch_sampler options"
                )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, "
                    "sampler, and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            if iterable:
                sampler = itertools.repeat(None)
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        batched = batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self.persistent_workers = persistent_workers
        self._workers: Workers | None = None
        self._epochs = 0
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and "_made" in self.__dict__:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Any]:
        fetcher = self._fetcher()
        if self.num_workers == 0:
            return _here(fetcher, self._tasks())
        workers = self._workers
        if workers is None or workers.closed:
            workers = Workers(
                fetcher, self.num_workers, self.worker_init_fn, self.multiprocessing_context
            )
            if self.persistent_workers:
                self._workers = workers
        self._epochs += 1
        seed = int(randint(0, 2**62, (1,), generator=self.generator).item())
        return _Pass(self, workers, self._epochs, seed)

    def __len__(self) -> int:
        """Return the number of batches; TypeError if the dataset's length is not known."""
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self._order())  # type: ignore[arg-type]

    def _order(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _fetcher(self) -> Fetcher:
        batched = self.batch_sampler is not None
        return Fetcher(self.dataset, self.collate_fn, self.batch_size, self.drop_last, batched)

    def _tasks(self) -> Iterator[Any]:
        """Return what batches are made of: indices, or endlessly None for an iterable dataset."""
        if isinstance(self.dataset, IterableDataset):
            return itertools.repeat(None)
        return iter(self._order())


def _here(fetcher: Fetcher, tasks: Iterator[Any]) -> Iterator[Any]:
    if fetcher.iterable:
        return fetcher.batches()
    return map(fetcher.fetch, tasks)


class _Pass(Iterator[Any]):
    """A pass over the data in worker processes.

    Tasks are numbered and go to the workers in turn, `prefetch_factor` ahead to each; batches are
    given out by number.
    """

    def __init__(self, loader: DataLoader[Any], workers: Workers, epoch: int, seed: int) -> None:
        self._loader = loader
        self._workers = workers
        self._epoch = epoch
        self._tasks = loader._tasks()
        self._sent = 0
        self._next = 0
        self._ready: dict[int, Any] = {}
        self._waiting: dict[int, int] = {}  # worker of each task that has no answer yet
        self._active = [True] * workers.count
        self._turn = 0
        workers.begin(epoch, seed)
        assert loader.prefetch_factor is not None, "workers make batches ahead"
        for _ in range(loader.prefetch_factor * workers.count):
            self._send()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return len(self._loader)

    def __next__(self) -> Any:
        if self._loader._epochs != self._epoch and self._loader.persistent_workers:
            raise RuntimeError(
                "this iterator is over: its workers are in a later pass over the same DataLoader"
            )
        while True:
            number = self._number()
            if number is not None:
                batch = self._ready.pop(number)
                self._next = max(self._next, number + 1)
                if isinstance(batch, Exhausted):
                    continue
                self._send()
                if isinstance(batch, Failure):
                    batch.reraise()
                return batch
            if not self._waiting:
                self._end()
                raise StopIteration
            for worker, reply in self._workers.receive(self._loader.timeout):
                if reply.epoch == self._epoch:
                    self._take(worker, reply.number, reply.batch)

    def _number(self) -> int | None:
        """Return the number of the batch that comes next, if it is here."""
        if self._loader.in_order:
            return self._next if self._next in self._ready else None
        return next(iter(self._ready), None)

    def _take(self, worker: int, number: int, batch: Any) -> None:
        del self._waiting[number]
        self._ready[number] = batch
        if isinstance(batch, Exhausted) and self._active[worker]:
            self._active[worker] = False
            self._send()

    def _send(self) -> None:
        """Send the next task to the next worker that still has batches."""
        count = self._workers.count
        for _ in range(count):
            worker = self._turn
            self._turn = (worker + 1) % count
            if self._active[worker]:
                break
        else:
            return
        try:
            task = Task(self._epoch, self._sent, next(self._tasks))
        except StopIteration:
            return
        self._workers.send(worker, task)
        self._waiting[self._sent] = worker
        self._sent += 1

    def _end(self) -> None:
        if not self._loader.persistent_workers:
            self._workers.close()


def _check_workers(
    count: int, timeout: float, prefetch_factor: int | None, persistent: bool
) -> None:
    if count < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if count == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing; let "
            "num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and count == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
