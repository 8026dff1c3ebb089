"""Accumulators: any partition of an image gives what the whole gives; values per band belong to the totals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo.metrics import (
    ErrorAccumulator,
    LaplacianAccumulator,
    RhoAccumulator,
    SamAccumulator,
    SobelAccumulator,
    SsimAccumulator,
    UqiAccumulator,
)

MAKERS: dict[str, tuple[Any, int]] = {
    "sam": (SamAccumulator, 0),
    "q": (lambda: UqiAccumulator(7), 6),
    "ssim": (lambda: SsimAccumulator(2047), 10),
    "sobel": (SobelAccumulator, 2),
    "laplacian": (LaplacianAccumulator, 2),
}


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(1, 38),
    col=st.integers(1, 44),
    hole=st.tuples(st.integers(0, 39), st.integers(0, 45)),
    seed=st.integers(0, 99),
)
def test_four_parts_give_what_the_whole_gives(row: int, col: int, hole: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    ref = rng.integers(0, 2047, (2, 40, 46)).astype(np.float64)
    fused = np.round(ref + rng.normal(0, 100, ref.shape))
    valid = np.ones(ref.shape[1:], bool)
    valid[hole] = False
    for name, (make, overlap) in MAKERS.items():
        whole, merged = make(), make()
        whole.update(fused, ref, valid)
        for rows in ((0, row), (row, 40)):
            for cols in ((0, col), (col, 46)):
                part = make()
                stops = min(rows[1] + overlap, 40), min(cols[1] + overlap, 46)
                cut = np.s_[..., rows[0] : stops[0], cols[0] : stops[1]]
                ends = {"edges": (rows[0] == 0, stops[0] == 40, cols[0] == 0, stops[1] == 46)}
                part.update(fused[cut], ref[cut], valid[cut], **(ends if name == "sobel" else {}))
                merged.merge(part)
        assert merged.count == whole.count
        assert merged.compute() == pytest.approx(whole.compute(), rel=1e-9), name


def test_rho_of_parts_is_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    pan = rng.integers(0, 2047, (1, 30, 31)).astype(np.float64)
    fused = pan + rng.normal(0, 300, (3, 30, 31))
    whole, merged = RhoAccumulator(4), RhoAccumulator(4)
    whole.update(fused, pan)
    for start, stop in ((0, 11), (11, 30)):
        part = RhoAccumulator(4)
        rows = slice(start, min(stop + part.support - 1, 30))
        part.update(fused[:, rows], pan[:, rows])
        merged.merge(part)
    assert merged.count == whole.count
    assert merged.bands() == pytest.approx(whole.bands(), rel=1e-12)
    assert merged.compute() == pytest.approx(np.mean(whole.bands()), rel=1e-12)


def test_bands_are_scored_one_by_one() -> None:
    rng = np.random.default_rng(0)
    ref = rng.integers(0, 2047, (3, 20, 20)).astype(np.float64)
    fused = ref + np.array([0, 10, -20.0])[:, None, None]
    errors = ErrorAccumulator()
    errors.update(fused, ref)
    bands = errors.bands(2047)
    assert bands["rmse"] == pytest.approx([0, 10, 20])
    assert bands["bias"] == pytest.approx([0, 10, -20])
    assert bands["psnr"] == pytest.approx([np.inf, 20 * np.log10(204.7), 20 * np.log10(102.35)])
    assert bands["cc"] == pytest.approx([1, 1, 1])
