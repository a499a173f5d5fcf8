from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from smelt.ir import dtypes
from smelt.ir.dim import symbol
from smelt.runtime import get_num_threads, pool, set_num_threads
from smelt.runtime.executable import Executable
from smelt.runtime.signature import Signature

from tests.runtime.programs import DOUBLE, NESTED, executable, slot


def double() -> Executable:
    vector = slot(dtypes.float32, symbol("n"))
    return executable(
        DOUBLE, Signature("double", (vector,), (vector,), 0, ("n",)), (np.float32([3]),)
    )


def check(program: Executable, n: int) -> None:
    x = np.arange(n, dtype=np.float32)
    results = program(x)
    assert isinstance(results, tuple)
    np.testing.assert_array_equal(results[0], 2 * x + 3)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_iteration_runs_once(threads: int) -> None:
    set_num_threads(threads)
    program = double()
    for n in (0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 64, 100, 1001):
        check(program, n)


def test_many_jobs_one_after_another() -> None:
    """Workers that fall asleep, that do not take part, and that come late."""
    set_num_threads(3)
    program = double()
    for n in range(600):
        check(program, n % 7)
        if n % 100 == 0:
            time.sleep(0.002)


def test_parallel_loops_nest() -> None:
    set_num_threads(3)
    signature = Signature("nested", (slot(dtypes.int64, 1),), (slot(dtypes.int64, 1000),))
    program = executable(NESTED, signature)
    for _ in range(20):
        results = program(np.array([5]))
        assert isinstance(results, tuple)
        np.testing.assert_array_equal(results[0], np.full(1000, 15))


def test_calls_from_many_threads() -> None:
    program = double()
    failures: list[BaseException] = []

    def caller(seed: int) -> None:
        try:
            for k in range(200):
                check(program, 100 + seed + k)
        except BaseException as error:  # noqa: BLE001 (reported by the test)
            failures.append(error)

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for k in range(1, 20):  # meanwhile the pool changes size
        set_num_threads(1 + k % 3)
        time.sleep(0.002)
    for thread in threads:
        thread.join()
    assert failures == []


def test_pools_of_other_sizes_go() -> None:
    program = double()
    for threads in (4, 2, 5, 2):
        set_num_threads(threads)
        check(program, 1000)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        workers = [t for t in threading.enumerate() if t.name.startswith("smelt-worker")]
        if len(workers) == 1:
            return
        time.sleep(0.01)
    raise AssertionError(f"workers that should have left: {workers}")


def test_the_number_of_threads_is_checked() -> None:
    set_num_threads(3)
    assert get_num_threads() == 3
    with pytest.raises(ValueError, match="1 to 4096"):
        set_num_threads(0)
    with pytest.raises(TypeError, match="expects an int"):
        set_num_threads(2.0)  # type: ignore[arg-type]
    assert pool.default_threads() >= 1


CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tests.runtime import test_pool
from smelt.runtime import set_num_threads
set_num_threads(2)
program = test_pool.double()
test_pool.check(program, 1000)
child = os.fork()
for _ in range(50):
    test_pool.check(program, 1000)
if child == 0:
    print("child done", flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print("parent done", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_its_own_pool_and_exits_cleanly() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["child done", "parent done"]
    assert done.stderr == ""


EXIT = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from tests.runtime import test_pool
from smelt.runtime import set_num_threads
set_num_threads(3)
program = test_pool.double()
def forever():
    while True:
        test_pool.check(program, 5000)
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
test_pool.check(program, 1000)
"""


def test_the_interpreter_exits_while_a_call_is_under_way() -> None:
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", EXIT, str(Path(__file__).parents[2])],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
