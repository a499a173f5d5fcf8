"""What a pass is, and how passes are run: graph IR to graph IR.

A pass is a frozen dataclass whose fields are its options. Around each one, instruments may verify,
time, print or dump what it gave.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TextIO

from smelt.ir.errors import InternalError, VerifyError
from smelt.ir.graph import Graph
from smelt.ir.text import print_graph, save_constants
from smelt.ir.text.attributes import INLINE_ELEMENTS
from smelt.ir.text.constants import constants
from smelt.ir.verify import verify


class Pass(Protocol):
    """A function from graph to graph with a name and options."""

    name: ClassVar[str]

    def run(self, graph: Graph) -> Graph:
        """Return the rewritten graph, the same object if nothing changed."""
        ...


class Instrument(Protocol):
    """Something that looks at the graph around every pass."""

    def begin(self, graph: Graph) -> None:
        """Look at the graph before the first pass."""
        ...

    def after(self, name: str, before: Graph, graph: Graph, seconds: float) -> None:
        """Look at what the pass called `name` made of `before`, and at how long it took."""
        ...


def run_passes(
    passes: Iterable[Pass], graph: Graph, instruments: Sequence[Instrument] = ()
) -> Graph:
    """Return what the passes, run in order, make of `graph`."""
    for instrument in instruments:
        instrument.begin(graph)
    for each in passes:
        start = time.perf_counter()
        result = each.run(graph)
        seconds = time.perf_counter() - start
        for instrument in instruments:
            instrument.after(each.name, graph, result, seconds)
        graph = result
    return graph


@dataclass(frozen=True)
class Verify:
    """Verify what each pass gives."""

    def begin(self, graph: Graph) -> None:
        verify(graph)

    def after(self, name: str, before: Graph, graph: Graph, seconds: float) -> None:
        if graph is before:
            return
        try:
            verify(graph)
        except VerifyError as error:
            raise InternalError(
                f"the pass {name} broke a graph; please report it with this text: {error}\n"
                f"{print_graph(before)}"
            ) from error


@dataclass(frozen=True)
class Time:
    """Note the seconds that each pass took.

    Attributes:
        seconds: (name of the pass, seconds), in the order in which they ran.
    """

    seconds: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    def begin(self, graph: Graph) -> None:
        pass

    def after(self, name: str, before: Graph, graph: Graph, seconds: float) -> None:
        self.seconds.append((name, seconds))


@dataclass(frozen=True)
class Print:
    """Print the graph after each pass that changed it.

    Attributes:
        stream: where to; None: standard error.
    """

    stream: TextIO | None = None

    def begin(self, graph: Graph) -> None:
        self._write("before the passes", graph)

    def after(self, name: str, before: Graph, graph: Graph, seconds: float) -> None:
        if graph is not before:
            self._write(f"after {name}", graph)

    def _write(self, title: str, graph: Graph) -> None:
        stream = sys.stderr if self.stream is None else self.stream
        stream.write(f"# {title}\n{print_graph(graph)}\n\n")


@dataclass
class Dump:
    """Write the graph after each pass to a file `NNN_pass.txt`, large constants beside it.

    Attributes:
        folder: where to; made if it is not there.
        next: number of the next file.
    """

    folder: Path
    next: int = 0

    def begin(self, graph: Graph) -> None:
        self._write("trace", graph)

    def after(self, name: str, before: Graph, graph: Graph, seconds: float) -> None:
        self._write(name, graph)

    def _write(self, name: str, graph: Graph) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = self.folder / f"{self.next:03d}_{name}"
        text = print_graph(graph)
        stem.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
        if any(c.array.size > INLINE_ELEMENTS for c in constants(graph).values()):
            save_constants(graph, stem.with_suffix(".npz"))
        self.next += 1
