"""Every op on its own samples: inference, reference, decomposition and structured definition."""

from __future__ import annotations

import numpy as np
import pytest
from smelt.ir import registry
from smelt.ir.evaluate import evaluate, evaluate_decomposed
from smelt.ir.op import Call, Decompose, Expand, Lower, OpDef, Region, Sample
from smelt.ir.structured import Stage

from tests.ops.comparison import (
    Referee,
    attributes,
    describe,
    reference_types,
    same_bits,
    type_of,
)
from tests.ops.stage_evaluator import run_stage

OPS = sorted(registry.OPS.values(), key=lambda op: op.name)
PLAIN = [op for op in OPS if isinstance(op.rule, (Lower, Decompose, Call))]


def named(ops: list[OpDef]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("op", ops, ids=[op.name for op in ops])


def samples_of(op: OpDef) -> list[Sample]:
    return list(op.samples())


@named(OPS)
def test_has_samples(op: OpDef) -> None:
    samples = samples_of(op)
    # What expands into other ops is tested by what it expands to.
    assert samples or isinstance(op.rule, Expand)
    for sample in samples:
        assert sum(x.size for x in sample.operands) <= 4096, describe(op, sample)


@named(PLAIN)
def test_inference_says_what_the_reference_gives(op: OpDef) -> None:
    for sample in samples_of(op):
        found = evaluate(op, attributes(op, sample), sample.operands)
        where = describe(op, sample)
        assert reference_types(op, sample) == tuple(type_of(x) for x in found), where
        assert all(isinstance(x, np.ndarray) for x in found), where
        if op.view is None:
            assert all(x.flags.c_contiguous for x in found), where


@named(PLAIN)
def test_reference_leaves_its_operands_alone(op: OpDef) -> None:
    for sample in samples_of(op):
        before = [x.copy() for x in sample.operands]
        found = evaluate(op, attributes(op, sample), sample.operands)
        where = describe(op, sample)
        assert all(same_bits(a, b) for a, b in zip(before, sample.operands)), where
        if op.view is None:
            shared = any(np.shares_memory(f, x) for f in found for x in sample.operands)
            assert not shared, where


@named([op for op in PLAIN if isinstance(op.rule, Decompose) and op.reference is not None])
def test_decomposition_gives_what_the_reference_gives(op: OpDef) -> None:
    for sample in samples_of(op):
        referee = Referee(op, sample)
        found = evaluate_decomposed(op, referee.attrs, sample.operands)
        referee.check(found, "decomposition")


@named([op for op in PLAIN if isinstance(op.rule, Lower)])
def test_structured_definition_gives_what_the_reference_gives(op: OpDef) -> None:
    for sample in samples_of(op):
        referee = Referee(op, sample)
        types = tuple(map(type_of, sample.operands))
        assert isinstance(op.rule, Lower)
        definition = op.rule.define(referee.attrs, *types)
        if isinstance(definition, Stage):
            # A constant has no operands; its one reader stands for its data.
            referee.check(run_stage(definition, sample.operands or referee.expected), "stage")


def test_rules_cover_every_op() -> None:
    assert all(op in PLAIN or isinstance(op.rule, (Region, Expand)) for op in OPS)
