"""Contiguity elimination, before and after as text."""

from __future__ import annotations

from smelt.passes.contiguity import Contiguity

from tests.passes.comparison import expect, unchanged

PASS = Contiguity()


def test_a_copy_between_views_goes() -> None:
    expect(
        PASS,
        """graph g(%x: f32[2,4]) {
          %a: f32[4,2] = permute(%x) {dims=(1, 0)}
          %b: f32[4,2] = contiguous(%a)
          %c: f32[2,4] = permute(%b) {dims=(1, 0)}
          %d: f32[2,4] = exp(%c)
          return %d
        }""",
        """graph g(%x: f32[2,4]) {
          %d: f32[2,4] = exp(%x)
          return %d
        }""",
    )


def test_permutations_join() -> None:
    expect(
        PASS,
        """graph g(%x: f32[2,3,4]) {
          %a: f32[4,2,3] = permute(%x) {dims=(2, 0, 1)}
          %b: f32[3,4,2] = permute(%a) {dims=(2, 0, 1)}
          return %b
        }""",
        """graph g(%x: f32[2,3,4]) {
          %b: f32[3,4,2] = permute(%x) {dims=(1, 2, 0)}
          return %b
        }""",
    )


def test_reshapes_and_expansions_join() -> None:
    expect(
        PASS,
        """graph g(%x: f32[6]) {
          %a: f32[2,3] = reshape(%x) {shape=(2, 3)}
          %b: f32[2,1,3] = reshape(%a) {shape=(2, 1, 3)}
          %c: f32[2,5,3] = expand(%b) {shape=(2, 5, 3)}
          %d: f32[7,2,5,3] = expand(%c) {shape=(7, 2, 5, 3)}
          return %d
        }""",
        """graph g(%x: f32[6]) {
          %b: f32[2,1,3] = reshape(%x) {shape=(2, 1, 3)}
          %d: f32[7,2,5,3] = expand(%b) {shape=(7, 2, 5, 3)}
          return %d
        }""",
    )


def test_flips_cancel() -> None:
    expect(
        PASS,
        """graph g(%x: f32[2,3]) {
          %a: f32[2,3] = flip(%x) {dims=(0, 1)}
          %b: f32[2,3] = flip(%a) {dims=(1,)}
          return %b
        }""",
        """graph g(%x: f32[2,3]) {
          %b: f32[2,3] = flip(%x) {dims=(0,)}
          return %b
        }""",
    )


def test_what_computes_stays() -> None:
    unchanged(
        PASS,
        """graph g(%x: f32[2,3]) {
          %a: f32[3,2] = permute(%x) {dims=(1, 0)}
          %b: f32[3,2] = exp(%a)
          return %b
        }""",
    )
