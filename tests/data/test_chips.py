"""Packs of chips: statistics of their surroundings, and steps that depend on seed and number alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ship_geo.data.chips import ChipPack, ChipSteps
from ship_geo.errors import ArgumentError, ProductError


@pytest.fixture
def chips() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 4, 24, 24), dtype=np.uint8)


@pytest.fixture
def pack_file(tmp_path: Path, chips: np.ndarray) -> Path:
    path = tmp_path / "pack.npz"
    np.savez_compressed(path, chips=chips, city=["a", "b", "a", "b", "a", "c"], name=[f"{i}.tif" for i in range(6)])
    return path


def test_statistics_are_those_of_all_chips_of_the_city(pack_file: Path, chips: np.ndarray) -> None:
    pack = ChipPack.from_file(pack_file)
    np.testing.assert_array_equal(pack.chips.numpy(), chips)
    for i, members in enumerate(([0, 2, 4], [1, 3], [0, 2, 4], [1, 3], [0, 2, 4], [5])):
        for band in range(4):
            pixels = np.concatenate([chips[j, band].ravel() for j in members]).astype(np.float64)
            assert float(pack.scene_mean[i, band]) == pytest.approx(pixels.mean(), rel=1e-4)
            assert float(pack.scene_std[i, band]) == pytest.approx(pixels.std(), rel=1e-4)


def test_step_depends_on_seed_and_number_alone(pack_file: Path) -> None:
    pack = ChipPack.from_file(pack_file)
    steps, again, longer, other = (
        ChipSteps(pack, n, batch_size=3, region=8, seed=seed) for n, seed in ((9, 1), (9, 1), (90, 1), (9, 2))
    )
    _ = [again[i] for i in (5, 0, 3)]  # what was read before does not matter
    for source in (again, longer):
        assert torch.equal(steps[7].chips, source[7].chips)
        assert steps[7].seed == source[7].seed
    assert steps[7].seed not in (other[7].seed, steps[6].seed)


def test_regions_are_cut_from_different_chips_with_their_own_statistics(pack_file: Path, chips: np.ndarray) -> None:
    pack = ChipPack.from_file(pack_file)
    batch = ChipSteps(pack, 4, batch_size=6, region=20, seed=0)[2]
    assert batch.chips.shape == (6, 4, 20, 20)
    found = []
    for region, mean in zip(batch.chips.numpy(), batch.scene_mean, strict=True):
        matches = [
            i
            for i in range(6)
            for row in range(5)
            for col in range(5)
            if np.array_equal(chips[i, :, row : row + 20, col : col + 20], region)
        ]
        assert len(matches) == 1
        assert torch.equal(mean, pack.scene_mean[matches[0]])
        found += matches
    assert sorted(found) == list(range(6))


def test_whole_chips_and_more_than_there_are_can_be_drawn(pack_file: Path) -> None:
    batch = ChipSteps(ChipPack.from_file(pack_file), 1, batch_size=9, region=24, seed=0)[0]
    assert batch.chips.shape == (9, 4, 24, 24)


def test_steps_end_after_their_length(pack_file: Path) -> None:
    steps = ChipSteps(ChipPack.from_file(pack_file), 3, batch_size=2, region=8, seed=0)
    assert len(steps) == len(list(steps)) == 3
    with pytest.raises(IndexError):
        steps[3]


def test_region_larger_than_a_chip_is_refused(pack_file: Path) -> None:
    with pytest.raises(ArgumentError, match=r"regions fit into the chips at every scale, got 25 at scales \(1,\) of"):
        ChipSteps(ChipPack.from_file(pack_file), 1, batch_size=1, region=25, seed=0)


@pytest.mark.parametrize("scales", [(1, 4), (0,), ()])
def test_scales_that_do_not_fit_are_refused(pack_file: Path, scales: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="at every scale, got 8 at scales"):
        ChipSteps(ChipPack.from_file(pack_file), 1, batch_size=1, region=8, seed=0, scales=scales)


def test_coarser_regions_are_means_of_the_imagery(pack_file: Path, chips: np.ndarray) -> None:
    pack = ChipPack.from_file(pack_file)
    batch = ChipSteps(pack, 2, batch_size=6, region=10, seed=0, scales=(2,))[1]
    assert batch.chips.shape == (6, 4, 10, 10)
    found = []
    for region, mean in zip(batch.chips.numpy(), batch.scene_mean, strict=True):
        corners = [(i, row, col) for i in range(6) for row in range(5) for col in range(5)]
        cuts = [chips[i, :, row : row + 20, col : col + 20].astype(float) for i, row, col in corners]
        means = [cut.reshape(4, 10, 2, 10, 2).mean((2, 4)) for cut in cuts]
        matches = [at for at, made in zip(corners, means, strict=True) if np.allclose(made, region, atol=1e-4)]
        assert len(matches) == 1
        assert torch.equal(mean, pack.scene_mean[matches[0][0]])
        found += matches
    assert len({(row, col) for _, row, col in found}) > 1


def test_scales_come_up_by_their_share_and_depend_on_the_step_alone(pack_file: Path) -> None:
    pack = ChipPack.from_file(pack_file)
    steps, again = (ChipSteps(pack, 90, batch_size=1, region=8, seed=0, scales=(1, 2, 2)) for _ in range(2))
    is_coarse = [steps[i].chips.dtype == torch.float32 for i in range(90)]
    assert 45 < sum(is_coarse) < 75
    assert torch.equal(again[70].chips, steps[70].chips)


def test_what_is_no_pack_is_refused(tmp_path: Path, pack_file: Path) -> None:
    text, empty, bare, array, cut = (tmp_path / name for name in ("a.txt", "b.npz", "c.npz", "d.npy", "e.npz"))
    text.write_text("no array")
    empty.write_bytes(b"")
    np.savez(bare, images=np.zeros(3))
    np.save(array, np.zeros(3))
    cut.write_bytes(pack_file.read_bytes()[:5000])
    for path in (text, empty, bare, array, cut, tmp_path / "missing.npz"):
        with pytest.raises(ProductError, match=r"training reads a pack of chips, got .*; write one with"):
            ChipPack.from_file(path)


@pytest.mark.parametrize(
    ("shape", "dtype", "n_city"),
    [
        ((2, 4, 24, 24), "float32", 2),
        ((4, 24, 24), "uint8", 4),
        ((0, 4, 24, 24), "uint8", 0),
        ((2, 4, 24, 24), "u1", 3),
    ],
)
def test_pack_of_other_arrays_is_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str, n_city: int) -> None:
    np.savez(tmp_path / "pack.npz", chips=np.zeros(shape, dtype), city=["a"] * n_city)
    with pytest.raises(ProductError, match=r"a pack has chips \(n, band, row, col\) of uint8 and n cities, got"):
        ChipPack.from_file(tmp_path / "pack.npz")


def test_pack_with_other_bands_than_wanted_is_refused(pack_file: Path) -> None:
    assert ChipPack.from_file(pack_file, 4).chips.shape[1] == 4
    with pytest.raises(ProductError, match="chips must have 3 bands, got 4 in"):
        ChipPack.from_file(pack_file, 3)
