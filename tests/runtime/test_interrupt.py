"""Ctrl-C in the middle of a native call, in a child process of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

HEAD = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from tests.runtime import programs
from smelt.runtime import set_num_threads
set_num_threads(2)
FOREVER = np.array([2**40])
endless = programs.executable(programs.ENDLESS)
def later(number, seconds=0.2):
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
"""

TAIL = """
assert endless(np.array([10]))[0][0] == 10
print("usable", flush=True)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program + TAIL, str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "usable"
    return done


@pytest.mark.parametrize("name", ["ENDLESS", "PARALLEL_ENDLESS"])
def test_ctrl_c_raises_and_leaves_the_process_usable(name: str) -> None:
    done = run(
        f"""
program = programs.executable(programs.{name})
argument = FOREVER if {name == "ENDLESS"} else np.array([2_000_000])
for _ in range(2):
    later(signal.SIGINT)
    start = time.monotonic()
    try:
        program(argument)
        print("ran to its end")
    except KeyboardInterrupt:
        print("interrupted" if time.monotonic() - start < 10 else "late")
"""
    )
    assert done.stdout.splitlines()[:-1] == ["interrupted", "interrupted"]


def test_a_handler_that_returns_lets_the_call_go_on() -> None:
    done = run(
        """
seen = []
signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
later(signal.SIGUSR1)
later(signal.SIGINT, 0.6)
try:
    endless(FOREVER)
except KeyboardInterrupt:
    print(seen == [signal.SIGUSR1])
"""
    )
    assert done.stdout.splitlines()[0] == "True"


def test_a_handler_may_call_compiled_code_and_raise_its_own_exception() -> None:
    done = run(
        """
class Enough(Exception):
    pass
def handler(number, frame):
    assert endless(np.array([3]))[0][0] == 3
    raise Enough
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    endless(FOREVER)
except Enough:
    print("enough")
"""
    )
    assert done.stdout.splitlines()[0] == "enough"


def test_python_runs_on_while_a_thread_is_in_native_code() -> None:
    run(
        """
result = []
thread = threading.Thread(target=lambda: result.append(endless(np.array([20_000_000]))))
thread.start()
ticks = 0
while thread.is_alive():
    time.sleep(0.001)
    ticks += 1
assert result[0][0][0] == 20_000_000 and ticks > 3, ticks
"""
    )
