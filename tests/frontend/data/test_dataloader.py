from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smelt
from smelt.utils import data
from smelt.utils.data import DataLoader
from smelt.utils.data import workers as workers_module

posix = pytest.mark.skipif(os.name != "posix", reason="kills a process")


class Rows(data.Dataset[Any]):
    """Sample k is (k, an array of k)."""

    def __init__(self, count: int, size: int = 3) -> None:
        self.count = count
        self.size = size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        return index, np.full(self.size, index, np.float32)


class Numbers(data.Dataset[int]):
    """150,000 numbers; a batch of them is larger than a pipe, and so is a list of indices."""

    def __len__(self) -> int:
        return 150_000

    def __getitem__(self, index: int) -> int:
        return index


class Failing(Rows):
    """Sample 5 fails in the given way."""

    def __init__(self, fail: Callable[[], Any]) -> None:
        super().__init__(12)
        self.fail = fail

    def __getitem__(self, index: int) -> Any:
        return self.fail() if index == 5 else super().__getitem__(index)


class Shared(data.IterableDataset[Any]):
    """Numbers below `count`, divided among the workers, each with its worker."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        own = data.get_worker_info()
        first, step = (0, 1) if own is None else (own.id, own.num_workers)
        for number in range(first, self.count, step):
            yield number, -1 if own is None else own.id


def indices(loader: DataLoader[Any]) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order(workers: int) -> None:
    loader = DataLoader(Rows(11), batch_size=4, num_workers=workers)
    assert len(loader) == 3
    assert indices(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert indices(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    whole = DataLoader(Rows(11), batch_size=4, num_workers=workers, drop_last=True)
    assert len(whole) == 2 and indices(whole) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (numbers, rows), *_ = loader
    assert numbers.dtype is smelt.int64 and rows.dtype is smelt.float32
    assert rows.shape == (4, 3) and rows[2].tolist() == [2, 2, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffling_follows_the_generator(workers: int) -> None:
    def order(seed: int) -> list[list[int]]:
        generator = smelt.Generator().manual_seed(seed)
        return indices(
            DataLoader(Rows(20), 6, shuffle=True, num_workers=workers, generator=generator)
        )

    first = order(1)
    assert first == order(1) != order(2)
    assert sorted(chain(*first)) == list(range(20))
    loader = DataLoader(Rows(20), 6, shuffle=True, num_workers=workers)
    assert indices(loader) != indices(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_samplers_and_unbatched_samples(workers: int) -> None:
    options: dict[str, Any] = {"num_workers": workers}
    backwards = DataLoader(Rows(5), 2, sampler=[4, 3, 2], **options)
    assert indices(backwards) == [[4, 3], [2]]
    lists = DataLoader(Rows(5), batch_sampler=[[0, 4], [1]], **options)
    assert indices(lists) == [[0, 4], [1]] and lists.batch_size is None
    single = list(DataLoader(Rows(3), batch_size=None, **options))
    assert [s[0] for s in single] == [0, 1, 2] and isinstance(single[0][1], smelt.Tensor)
    collated = DataLoader(Rows(4), 2, collate_fn=_sum_of_indices, **options)
    assert list(collated) == [1, 5]


def _sum_of_indices(samples: list[Any]) -> int:
    return sum(sample[0] for sample in samples)


class Doubled(data.TensorDataset):
    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple([2 * row for row in super().__getitem__(index)])


@pytest.mark.parametrize("kind", [data.TensorDataset, Doubled])
def test_batches_of_tensors_are_what_collating_gives(kind: type[data.TensorDataset]) -> None:
    x, y = smelt.rand(9, 2, 3), smelt.arange(9)
    dataset = kind(x, y)
    part = data.Subset(dataset, [8, 3, 5, 0, 1])
    for source, order in ((dataset, [2, 0, 7]), (part, [4, 1, 2])):
        (found,) = DataLoader(source, batch_sampler=[order])
        expected = data.default_collate([source[k] for k in order])
        assert type(found) is type(expected) is list
        for a, b in zip(found, expected):
            assert a.dtype is b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    (found,) = DataLoader(dataset, batch_sampler=[[np.int64(2), np.int64(0)]])
    assert found[1].tolist() == ([2, 0] if kind is data.TensorDataset else [4, 0])
    with pytest.raises(IndexError):
        list(DataLoader(dataset, batch_sampler=[[9]]))


def test_a_dataset_may_fetch_many_at_once() -> None:
    class Many(Rows):
        def __getitems__(self, wanted: list[int]) -> list[Any]:
            return [(k * 10, k) for k in wanted]

    assert indices(DataLoader(Many(4), 2)) == [[0, 10], [20, 30]]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_iterable_datasets(workers: int) -> None:
    loader = DataLoader(Shared(10), batch_size=2, num_workers=workers)
    for _ in range(2):
        batches = list(loader)
        assert sorted(chain(*(b[0].tolist() for b in batches))) == list(range(10))
        if workers:
            assert {w for b in batches for w in b[1].tolist()} == set(range(workers))
    dropped = DataLoader(Shared(11), batch_size=2, num_workers=workers, drop_last=True)
    assert all(len(b[0]) == 2 for b in dropped)
    with pytest.raises(TypeError):
        len(loader)
    assert data.get_worker_info() is None


def test_workers_have_seeds_of_their_own() -> None:
    class Draws(Rows):
        def __getitem__(self, index: int) -> tuple[float, float, int]:
            own = data.get_worker_info()
            assert own is not None
            return smelt.rand(1).item(), np.random.rand(), own.seed

    def passes() -> list[Any]:
        smelt.manual_seed(4)
        loader = DataLoader(Draws(4), num_workers=2)
        return [[tuple(x.item() for x in b) for b in loader] for _ in range(2)]

    first = passes()
    assert first == passes()
    drawn = [sample for batches in first for sample in batches]
    assert len({d[0] for d in drawn}) == len({d[1] for d in drawn}) == 8
    assert len({d[2] for d in drawn}) == 4


def _mark(worker: int) -> None:
    os.environ["SMELT_TEST_MARK"] = str(worker + 100)


class Marks(Rows):
    def __getitem__(self, index: int) -> tuple[int, int]:
        return int(os.environ.get("SMELT_TEST_MARK", "0")), os.getpid()


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_are_prepared_and_kept(persistent: bool) -> None:
    loader = DataLoader(
        Marks(4), num_workers=2, worker_init_fn=_mark, persistent_workers=persistent
    )
    passes = [[(m.item(), p.item()) for m, p in loader] for _ in range(2)]
    assert {m for samples in passes for m, _ in samples} == {100, 101}
    processes = [{p for _, p in samples} for samples in passes]
    assert os.getpid() not in processes[0]
    assert (processes[0] == processes[1]) is persistent


def _raise_key() -> None:
    raise KeyError("no such sample")


class OddError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


def _raise_odd() -> None:
    raise OddError(1, 2)


def _local_class() -> None:
    class LocalError(Exception):
        pass

    raise LocalError("who knows me?")


@pytest.mark.parametrize(
    ("fail", "error", "message"),
    [
        (_raise_key, KeyError, r"Caught KeyError in DataLoader worker process 0\.\nOriginal"),
        (_raise_odd, RuntimeError, "Caught OddError"),
        (_local_class, RuntimeError, "who knows me"),
    ],
)
def test_errors_of_workers_surface(
    fail: Callable[[], Any], error: type[Exception], message: str
) -> None:
    loader = iter(DataLoader(Failing(fail), batch_size=2, num_workers=2))
    seen = [next(loader)[0].tolist() for _ in range(2)]
    assert seen == [[0, 1], [2, 3]]
    with pytest.raises(error, match=message):
        next(loader)
    # The batches after it are there all the same.
    assert [b[0].tolist() for b in loader] == [[6, 7], [8, 9], [10, 11]]


def test_errors_here_are_the_users_own() -> None:
    with pytest.raises(KeyError, match="no such sample"):
        list(DataLoader(Failing(_raise_key), batch_size=2))


def test_errors_of_preparation_surface() -> None:
    def prepare(worker: int) -> None:
        raise OSError(f"no disk for {worker}")

    with pytest.raises(OSError, match="no disk for 0"):
        next(iter(DataLoader(Rows(4), num_workers=2, worker_init_fn=prepare)))


def test_batches_that_cannot_be_sent_surface() -> None:
    loader = DataLoader(Failing(lambda: lambda: 0), num_workers=1, collate_fn=list)
    with pytest.raises((AttributeError, TypeError, RuntimeError), match=r"pickle|Caught"):
        list(loader)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@posix
def test_a_worker_that_dies_is_noticed() -> None:
    with pytest.raises(RuntimeError, match=r"exited unexpectedly: killed by signal 9"):
        list(DataLoader(Failing(_die), batch_size=2, num_workers=2))


def _hang() -> None:
    time.sleep(60)


def test_a_worker_that_is_slow_times_out_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "_PATIENCE", 0.2)
    loader = iter(DataLoader(Failing(_hang), batch_size=2, num_workers=2, timeout=1))
    next(loader), next(loader)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        next(loader)
    assert time.monotonic() - start < 5
    processes = loader._workers._processes[:]
    pids = [p.pid for p in processes]
    del loader
    gc.collect()
    assert time.monotonic() - start < 20
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_pass_that_is_given_up_leaves_nothing_behind() -> None:
    """Workers that are in the middle of sending batches far larger than a pipe."""
    loader = DataLoader(Rows(100, size=300_000), batch_size=4, num_workers=2, prefetch_factor=4)
    passing = iter(loader)
    next(passing)
    pids = [p.pid for p in passing._workers._processes]
    start = time.monotonic()
    del passing
    gc.collect()
    assert time.monotonic() - start < 5
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_long_lists_of_indices_and_large_batches_do_not_block_each_other() -> None:
    loader = DataLoader(Numbers(), batch_size=30_000, num_workers=1, prefetch_factor=4)
    assert [len(b) for b in loader] == [30_000] * 5


def test_kept_workers_survive_a_pass_that_was_given_up() -> None:
    loader = DataLoader(Rows(40), batch_size=2, num_workers=2, persistent_workers=True)
    first = iter(loader)
    next(first), next(first)
    assert indices(loader)[:2] == [[0, 1], [2, 3]]
    with pytest.raises(RuntimeError, match="this iterator is over"):
        next(first)


def test_batches_may_come_as_they_are_made() -> None:
    loader = DataLoader(Rows(20), batch_size=2, num_workers=3, in_order=False)
    assert sorted(chain(*indices(loader))) == list(range(20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "prefetch_factor option could only be specified"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"sampler": [0], "shuffle": True}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "disables auto-batching"),
        ({"batch_size": 0}, "batch_size should be a positive"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(Rows(4), **options)


def test_iterable_datasets_take_no_order() -> None:
    with pytest.raises(ValueError, match="unspecified shuffle option"):
        DataLoader(Shared(4), shuffle=True)
    with pytest.raises(ValueError, match="unspecified sampler"):
        DataLoader(Shared(4), sampler=[0])


def test_what_is_fixed_stays() -> None:
    loader = DataLoader(Rows(4))
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3


EXIT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.frontend.data.test_dataloader import Rows
from smelt.utils.data import DataLoader
from smelt.utils.data import workers as workers_module
kept = iter(DataLoader(Rows(1000, size=100_000), batch_size=4, num_workers=2,
                       persistent_workers=True))
next(kept)
print("leaving", flush=True)
"""


def test_the_interpreter_exits_in_the_middle_of_a_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXIT, str(Path(__file__).parents[3])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_processes(method: str) -> None:
    loader = DataLoader(Rows(6), 2, num_workers=1, multiprocessing_context=method)
    assert indices(loader) == [[0, 1], [2, 3], [4, 5]]
