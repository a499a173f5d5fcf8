"""Compiled functions among threads, forks and signals."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smelt


def test_threads_share_a_compiled_function() -> None:
    weight = smelt.rand(16, 16)

    def function(x: Any) -> Any:
        return (x @ weight).tanh().sum(1)

    compiled = smelt.compile(function)
    failures: list[Any] = []

    def call(rows: int) -> None:
        try:
            for _ in range(20):
                x = smelt.rand(rows, 16)
                expected = function(x).numpy()
                np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-4)
        except BaseException as error:  # noqa: BLE001 (reported by the test)
            failures.append(error)

    threads = [threading.Thread(target=call, args=(2 + k % 2,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # Two threads may have compiled the same graph at once; no other shapes came.
    assert len(compiled.graphs) <= 4


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


FORK = """
import os, sys
import smelt
smelt.set_num_threads(2)
weight = smelt.rand(64, 64)
compiled = smelt.compile(lambda x: (x @ weight).tanh())
x = smelt.rand(64, 64)
first = compiled(x).tolist()
child = os.fork()
assert compiled(x).tolist() == first
if child == 0:
    sys.exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_goes_on_calling() -> None:
    assert run(FORK) == ["0"]


INTERRUPT = """
import os, signal, threading
import smelt
smelt.set_num_threads(1)
weight, total = smelt.rand(1000, 1000), smelt.zeros(1000, 1000)
def long(x):
    for _ in range(40):
        x = (x @ weight).tanh()
    total.add_(x)
    return x
compiled = smelt.compile(long)
x = smelt.rand(1000, 1000)
compiled(x)
before = total.sum().item()
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    compiled(x)
    print("ran to its end")
except KeyboardInterrupt:
    print("interrupted")
print(total.sum().item() == before)
compiled(x)
print(total.sum().item() == 2 * before)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_in_a_compiled_call_changes_nothing() -> None:
    assert run(INTERRUPT) == ["interrupted", "True", "True"]
