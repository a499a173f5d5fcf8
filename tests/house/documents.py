"""Run the programs in the documents, and compare what they print with what stands there.

In every Markdown file, the ```python blocks are one program, run in order; a ```text block that
follows one holds what it prints. `python tests/house/documents.py --write` puts in what they print
now. Blocks in other languages (```console, ```mlir, …) are not run.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    """A program of a document and the output that stands after it."""

    document: Path
    line: int
    source: str
    expected: str | None
    span: tuple[int, int]


def documents() -> list[Path]:
    """Return the documents of the project."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def examples(document: Path) -> Iterator[Example]:
    """Yield the programs of a document, in order."""
    text = document.read_text()
    blocks = list(_BLOCK.finditer(text))
    for block, after in zip(blocks, [*blocks[1:], None]):
        if block[1] != "python":
            continue
        line = text.count("\n", 0, block.start()) + 2
        expected, span = None, (0, 0)
        if after is not None and after[1] == "text":
            between = text[block.end() : after.start()]
            if len(between.strip()) < 200 and "\n#" not in between:
                expected, span = after[2], after.span(2)
        yield Example(document, line, block[2], expected, span)


def run(document: Path) -> Iterator[tuple[Example, str]]:
    """Run the programs of a document; yield each with what it printed."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for example in examples(document):
        source = "\n" * (example.line - 1) + example.source
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, document.name, "exec"), namespace)
        yield example, printed.getvalue()


def rewrite(document: Path) -> bool:
    """Put what the programs print into the document; tell whether that changed it."""
    text = document.read_text()
    results = [(e, out) for e, out in run(document) if e.expected is not None]
    changed = text
    for example, printed in reversed(results):
        begin, end = example.span
        changed = changed[:begin] + printed + changed[end:]
    document.write_text(changed)
    return changed != text


if __name__ == "__main__":
    for path in documents():
        if "--write" in sys.argv[1:]:
            print(f"{path.relative_to(ROOT)}: {'rewritten' if rewrite(path) else 'unchanged'}")
        else:
            for example, printed in run(path):
                print(f"{path.relative_to(ROOT)}:{example.line}\n{printed}")
