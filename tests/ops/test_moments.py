"""Moments merge exactly, whatever the partition and its order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo.errors import ArgumentError
from ship_geo.ops.moments import Moments


def _samples(n_variable: int, n_sample: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n_variable, n_variable)) @ rng.normal(size=(n_variable, n_sample))
    return 60000 + 40 * mixed


def test_in_memory_moments_are_those_of_numpy() -> None:
    table = _samples(4, 500, 0)
    moments = Moments.from_samples(table)
    assert moments.count == 500
    np.testing.assert_allclose(moments.mean, table.mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(moments.cov, np.cov(table, ddof=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, table.std(axis=1), rtol=1e-12)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 10**6))
def test_any_partition_in_any_order_gives_the_whole(sizes: list[int], seed: int) -> None:
    table = _samples(3, sum(sizes) + 2, seed)
    edges = [0, *itertools.accumulate([*sizes, 2])]
    parts = [Moments.from_samples(table[:, a:b]) for a, b in itertools.pairwise(edges)]
    np.random.default_rng(seed).shuffle(parts)
    merged = Moments.empty(3)
    for part in parts:
        merged = merged.merge(part)
    whole = Moments.from_samples(table)
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(merged.cov, whole.cov, rtol=1e-9, atol=1e-9)


def test_a_large_offset_costs_no_digits() -> None:
    table = np.array([[1e9, 1e9 + 1, 1e9 + 2]])
    parts = [Moments.from_samples(table[:, i : i + 1]) for i in range(3)]
    assert parts[0].merge(parts[1]).merge(parts[2]).cov[0, 0] == pytest.approx(2 / 3, rel=1e-12)


def test_selection_and_projection_are_those_of_the_samples() -> None:
    table = _samples(4, 50, 1)
    moments = Moments.from_samples(table)
    np.testing.assert_allclose(moments.select([2, 0]).cov, Moments.from_samples(table[[2, 0]]).cov)
    rows = np.array([[1.0, 0, 0, 0], [0, 0.5, 0, 0.5]])
    np.testing.assert_allclose(moments.project(rows).cov, Moments.from_samples(rows @ table).cov, rtol=1e-9)
    np.testing.assert_allclose(moments.project(rows).mean, rows @ moments.mean)


def test_nothing_merged_with_nothing_is_nothing() -> None:
    assert Moments.empty(2).merge(Moments.from_samples(np.empty((2, 0)))).count == 0


def test_different_variables_are_refused() -> None:
    with pytest.raises(ArgumentError, match="same variables, got 2 and 3"):
        Moments.empty(2).merge(Moments.empty(3))
    with pytest.raises(ArgumentError, match="flatten"):
        Moments.from_samples(np.zeros((2, 3, 4)))
