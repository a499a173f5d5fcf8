"""The loader's side of its worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from smelt.utils.data.worker import LOADER_ENDS, Begin, Fetcher, Reply, Task, work

_PATIENCE = 5.0  # seconds that a worker is given to leave


class Workers:
    """The worker processes of a loader; they go when this object does.

    Attributes:
        count: how many there are.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        count: int,
        prepare: Callable[[int], None] | None,
        context: Any = None,
    ) -> None:
        """Start the processes.

        Args:
            fetcher: how they make batches.
            count: how many there are.
            prepare: called with a worker's number in that worker, before its first task.
            context: of `multiprocessing`, or its name; None: the default one.
        """
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.count = count
        self._connections: list[Connection[Any, Any]] = []
        self._processes: list[Any] = []
        self._close = weakref.finalize(
            self, _close, self._connections, self._processes, os.getpid()
        )
        for worker in range(count):
            mine, other = context.Pipe(duplex=True)
            LOADER_ENDS.add(mine)
            process = context.Process(
                target=work,
                args=(other, fetcher, worker, count, prepare),
                name=f"smelt-loader-{worker}",
                daemon=True,
            )
            process.start()
            other.close()
            self._connections.append(mine)
            self._processes.append(process)

    def begin(self, epoch: int, seed: int) -> None:
        """Tell all workers that a pass begins."""
        for worker in range(self.count):
            self._send(worker, Begin(epoch, seed))

    def send(self, worker: int, task: Task) -> None:
        """Give a worker a task."""
        self._send(worker, task)

    def receive(self, timeout: float) -> list[tuple[int, Reply]]:
        """Wait for answers, which come in any order.

        Args:
            timeout: seconds; 0: as long as it takes.

        Returns:
            (worker, answer) pairs, at least one.

        Raises:
            RuntimeError: no answer came in time, or a worker has died.
        """
        deadline = time.monotonic() + timeout if timeout > 0 else None
        sentinels = [process.sentinel for process in self._processes]
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait([*self._connections, *sentinels], left)
            if not ready:
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
            replies: list[tuple[int, Reply]] = []
            for worker, connection in enumerate(self._connections):
                if connection in ready:
                    try:
                        replies.append((worker, connection.recv()))
                    except (EOFError, OSError):  # the latter in the middle of an answer
                        self._dead(worker)
            if replies:
                return replies
            for worker, sentinel in enumerate(sentinels):
                if sentinel in ready:
                    self._dead(worker)

    @property
    def closed(self) -> bool:
        """Whether the processes are gone."""
        return not self._close.alive

    def close(self) -> None:
        """Let the processes go, at the latest by force."""
        self._close()

    def _send(self, worker: int, message: Any) -> None:
        try:
            self._connections[worker].send(message)
        except (BrokenPipeError, ConnectionResetError):
            self._dead(worker)

    def _dead(self, worker: int) -> None:
        process = self._processes[worker]
        process.join(_PATIENCE)
        pid, code = process.pid, process.exitcode
        self.close()
        why = f"killed by signal {-code}" if code is not None and code < 0 else f"code {code}"
        raise RuntimeError(f"DataLoader worker (pid(s) {pid}) exited unexpectedly: {why}")


def _close(connections: list[Connection[Any, Any]], processes: list[Any], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked copy of the loader: the processes are its parent's
    for connection in connections:
        with contextlib.suppress(OSError):  # one that has died needs no telling
            connection.send(None)
        connection.close()
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join()
        process.close()
