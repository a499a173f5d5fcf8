"""Make callable kernels of generated Python.

    build(source, kernel) -> CudaKernel;  kernel(arrays, sizes)

The one place that touches numba-cuda, so that another compiler can take its place. Generated
modules are registered with `linecache`: tracebacks and debuggers show their lines.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from smelt.codegen.cuda.emit import CudaFunction, CudaSource
from smelt.ir.abi import Error
from smelt.ir.errors import InternalError
from smelt.ir.loop.grammar import Kernel
from smelt.ir.scalar import Apply, Const, Expr, Var


@dataclass(frozen=True)
class CudaKernel:
    """A kernel that numba compiles when it is first called.

    Attributes:
        source: what it was made from.
        kernel: the loop IR.
        module: the generated module.
    """

    source: CudaSource
    kernel: Kernel
    module: ModuleType

    def __call__(
        self, arrays: Sequence[Any], sizes: Mapping[str, int] | None = None
    ) -> tuple[int, int, int] | None:
        """Run the kernel.

        Args:
            arrays: flat device arrays, one a parameter.
            sizes: value of each symbolic size.

        Returns:
            None when done; code, value and limit of the first data error found otherwise.
        """
        from numba import cuda  # type: ignore[import-not-found]

        sizes = {} if sizes is None else sizes
        error: Any = None
        given = dict(zip((b.name for b in self.kernel.params), arrays))
        for function in self.source.functions:
            if "error" in function.arguments and error is None:
                import numpy as np

                error = cuda.to_device(np.zeros(len(Error), np.int64))
            self._launch(function, {**given, "error": error}, sizes)
        if error is not None:
            record = error.copy_to_host()
            if record[Error.STATE]:
                code, value, limit = (
                    int(record[f]) for f in (Error.CODE, Error.VALUE, Error.LIMIT)
                )
                return code, value, limit
        return None

    def _launch(
        self, function: CudaFunction, given: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> None:
        grid = tuple(evaluate(count, sizes) for count in function.grid)
        if 0 in grid:
            return
        arguments = [given[name] for name in function.arguments]
        numbers = [sizes[name] for name in self.kernel.sizes]
        getattr(self.module, function.name)[grid, function.block](*arguments, *numbers)


def build(source: CudaSource, kernel: Kernel) -> CudaKernel:
    """Load a generated module; needs the `cuda` extra, but no GPU before the first call."""
    digest = hashlib.sha256(source.text.encode()).hexdigest()[:12]
    file = f"<smelt {kernel.name} {digest}>"
    linecache.cache[file] = (len(source.text), None, source.text.splitlines(keepends=True), file)
    module = ModuleType(f"smelt_generated_{digest}")
    module.__file__ = file
    exec(compile(source.text, file, "exec"), module.__dict__)
    return CudaKernel(source, kernel, module)


def evaluate(count: Expr, sizes: Mapping[str, int]) -> int:
    """Return the value of an i64 expression over sizes."""
    match count:
        case Const(value):
            return int(value)
        case Var(name):
            return sizes[name]
        case Apply(op, args, _):
            import numpy as np
            from smelt.ir import scalar_reference

            values = (np.int64(evaluate(a, sizes)) for a in args)
            return int(scalar_reference.evaluate(op, *values))
        case _:
            raise InternalError(f"the size of a grid reads data: {count}")
