"""What an op is: one definition from which every level derives its own.

Rules of differentiation and decomposition are written once, against `Rules`: "apply this op to
these operands". The eager tape, the tracer, the graph builder and the array evaluator each
implement it, so one rule serves them all and double backward needs nothing more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smelt.ir.types import TensorType

if TYPE_CHECKING:
    import numpy as np
    from smelt.ir.graph import Graph, Location
    from smelt.ir.layout import Layout
    from smelt.ir.structured import Definition

Operand = Any


@dataclass(frozen=True, slots=True)
class NoAttrs:
    """Attributes of an op that has none."""


class Rules(ABC):
    """How a rule applies ops; operands are whatever the implementation computes with."""

    @abstractmethod
    def __call__(
        self, op: str, *operands: Operand, regions: tuple[Graph, ...] = (), **attrs: Any
    ) -> Any:
        """Apply the op called `op`.

        Returns:
            Its result, or a tuple of results if the op is defined with several.
        """

    @abstractmethod
    def type(self, operand: Operand) -> TensorType:
        """Return the type of an operand."""

    def at(self, location: Location | None) -> None:  # noqa: B027 (most need not know)
        """State the user's line to which what is applied next belongs."""

    def full(self, value: bool | int | float, type: TensorType) -> Operand:
        """Return a tensor of `type` filled with `value`."""
        return self("full", value=value, dtype=type.dtype, shape=type.shape)

    def full_like(self, operand: Operand, value: bool | int | float) -> Operand:
        """Return a tensor of the operand's type filled with `value`."""
        return self.full(value, self.type(operand))

    def scale(self, operand: Operand, factor: float) -> Operand:
        """Return the operand times a constant."""
        return self("mul", operand, self.full_like(operand, factor))

    def shift(self, operand: Operand, amount: float) -> Operand:
        """Return the operand plus a constant."""
        return self("add", operand, self.full_like(operand, amount))

    def cast(self, operand: Operand, dtype: Any) -> Operand:
        """Return the operand converted to `dtype`, itself if it has it."""
        return operand if self.type(operand).dtype is dtype else self("cast", operand, dtype=dtype)

    def reshape(self, operand: Operand, shape: tuple[Any, ...]) -> Operand:
        """Return the operand in another shape, itself if it has it."""
        same = self.type(operand).shape == tuple(shape)
        return operand if same else self("reshape", operand, shape=tuple(shape))

    def expand(self, operand: Operand, shape: tuple[Any, ...]) -> Operand:
        """Return the operand broadcast to `shape`, itself if it has it."""
        same = self.type(operand).shape == tuple(shape)
        return operand if same else self("expand", operand, shape=tuple(shape))

    def permute(self, operand: Operand, dims: tuple[int, ...]) -> Operand:
        """Return the operand with its dimensions reordered, itself if they are in order."""
        return operand if dims == tuple(range(len(dims))) else self("permute", operand, dims=dims)

    def unsqueeze(self, operand: Operand, dims: tuple[int, ...]) -> Operand:
        """Return the operand with dimensions of size 1 put in at `dims` of the result."""
        kept = iter(self.type(operand).shape)
        rank = self.type(operand).rank + len(dims)
        shape = tuple(1 if d in dims else next(kept) for d in range(rank))
        return self.reshape(operand, shape)

    def spread(self, operand: Operand, dims: tuple[int, ...], shape: tuple[Any, ...]) -> Operand:
        """Return a value reduced over `dims` broadcast back to `shape`."""
        return self.expand(self.unsqueeze(operand, dims), shape)

    def sum(self, operand: Operand, dims: tuple[int, ...]) -> Operand:
        """Return the sum over `dims`, which go; the operand itself if there are none."""
        return self("sum", operand, dims=dims) if dims else operand


@dataclass(frozen=True)
class Saved:
    """What a vjp rule is given of the forward application.

    Attributes:
        attrs: attributes of the application.
        input_types: types of its operands.
        output_types: types of its results.
        values: the operands and results named in `Vjp.saves`, by name.
        needs: for each operand, whether its cotangent is wanted.
        regions: graphs that the application owns.
    """

    attrs: Any
    input_types: tuple[TensorType, ...]
    output_types: tuple[TensorType, ...]
    values: Mapping[str, Operand]
    needs: tuple[bool, ...]
    regions: tuple[Graph, ...] = ()

    def __getitem__(self, name: str) -> Operand:
        return self.values[name]


@dataclass(frozen=True)
class Vjp:
    """A rule of reverse differentiation.

    Attributes:
        saves: names of the operands and results that `rule` reads. A trailing operand `*xs`
            is saved as the tuple `xs`.
        rule: given the rules to apply, what was saved, and one cotangent a result (None where
            nothing depends on it), returns one cotangent an operand, None where there is none
            or none is wanted.
    """

    saves: tuple[str, ...]
    rule: Callable[..., tuple[Operand | None, ...]]


@dataclass(frozen=True)
class NoVjp:
    """States that an op has no derivative.

    Attributes:
        reason: why, as a clause: "its result is bool".
        zero: True where the derivative is zero or undefined by nature, so that results need no
            gradient; False where asking for it is an error that gives the reason.
    """

    reason: str
    zero: bool = True


@dataclass(frozen=True)
class Lower:
    """A primitive: `define(attrs, *input_types)` gives its structured definition."""

    define: Callable[..., Definition]


@dataclass(frozen=True)
class Decompose:
    """A composite: `rule(rules, attrs, *operands)` gives its results by other ops."""

    rule: Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """An op that the host does through a library: the op's reference is what is called.

    Attributes:
        reason: which library, and why there is no loop program for it.
    """

    reason: str


@dataclass(frozen=True)
class Region:
    """Control flow over the node's own graphs.

    Attributes:
        evaluate: `evaluate(run, attrs, regions, *arrays)` gives the results as a tuple, where
            `run(graph, arrays)` evaluates one of the regions.
    """

    evaluate: Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Expand:
    """An op whose meaning depends on the graph around it, so that a pass replaces it first.

    Attributes:
        by: the pass that does.
    """

    by: str


@dataclass(frozen=True)
class Sample:
    """One application of an op that tests run on every rung of the ladder.

    Attributes:
        operands: arrays; non-contiguous, empty and 0-d ones among them.
        attrs: attributes as keywords.
        regions: graphs of a region op, as IR text.
        differentiable: whether finite differences hold at this point (no kink, no NaN).
    """

    operands: tuple[np.ndarray[Any, Any], ...]
    attrs: Mapping[str, Any]
    regions: tuple[str, ...] = ()
    differentiable: bool = True


@dataclass(frozen=True, eq=False)
class OpDef:
    """The definition of an op.

    Attributes:
        name: name in IR text and in the registry.
        doc: its formula, one line.
        operands: names of the operands; a last one `*xs` stands for any number.
        infer: `infer(attrs, *input_types)` gives the result types as a tuple, or raises a
            `TypeInferenceError` that names op, operands and what was expected. Region ops take
            `regions=` as well.
        rule: how it is computed below the graph: exactly one of the five.
        vjp: how it is differentiated; None for a composite means: by its decomposition.
        samples: yields the `Sample`s on which every rung is tested.
        reference: `reference(xp, attrs, *arrays)` computes the result (a tuple if there are
            several) with the array namespace `xp`. None for a composite means: by its
            decomposition. Must not write to its operands, nor return one (unless `view`).
        attrs: frozen dataclass of its attributes.
        results: names of the results; a single `*ys` stands for any number.
        view: for an op whose eager result may share storage, `view(attrs, layout)` gives the
            layout of the result, or None where it must be copied.
        error: c of the bound c · eps · Σ|terms| on the rounding error of compiled code.
    """

    name: str
    doc: str
    operands: tuple[str, ...]
    infer: Callable[..., tuple[TensorType, ...]]
    rule: Lower | Decompose | Call | Region | Expand
    vjp: Vjp | NoVjp | None
    samples: Callable[[], Iterable[Sample]]
    reference: Callable[..., Any] | None = None
    attrs: type[Any] = NoAttrs
    results: tuple[str, ...] = ("out",)
    view: Callable[[Any, Layout], Layout | None] | None = None
    error: float = 4.0

    def __post_init__(self) -> None:
        composite = isinstance(self.rule, Decompose)
        assert composite or self.vjp is not None, f"{self.name}: a vjp, or why there is none"
        needs_reference = isinstance(self.rule, Lower | Call)
        assert self.reference is not None or not needs_reference, f"{self.name}: no reference"
        if isinstance(self.vjp, Vjp):
            names = {n.lstrip("*") for n in self.operands + self.results}
            unknown = set(self.vjp.saves) - names
            assert not unknown, f"{self.name}: saves {unknown}, which it does not have"

    @property
    def variadic(self) -> bool:
        """Whether the last operand stands for any number."""
        return bool(self.operands) and self.operands[-1].startswith("*")

    @property
    def is_primitive(self) -> bool:
        """Whether it has a structured definition of its own."""
        return isinstance(self.rule, Lower)

    def operand_name(self, position: int) -> str:
        """Return what error messages call the operand at `position`."""
        if self.variadic and position >= len(self.operands) - 1:
            return f"{self.operands[-1][1:]}[{position - len(self.operands) + 1}]"
        return self.operands[position]

    def __repr__(self) -> str:
        return f"<op {self.name}>"
