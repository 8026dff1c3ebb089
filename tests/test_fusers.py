"""Models by name, bands in groups, windows in batches: fixed batches, memory that runs out, one load per process."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ship_geo import fusers
from ship_geo.api import pansharpen_scene
from ship_geo.baselines.registry import METHODS
from ship_geo.errors import ArgumentError, CheckpointError
from ship_geo.fusers import (
    CLASSICAL_WINDOW,
    GROUPS,
    ClassicalFuser,
    ModelSpec,
    NetworkFuser,
    band_groups,
    load_fuser,
    pick_device,
    pick_precision,
)
from ship_geo.nn.checkpoint import build_model, load_checkpoint, save_checkpoint
from ship_geo.nn.inputs import N_GUIDE, N_STREAM
from ship_geo.nn.ship_plus_plus import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.weights import ShipPlusPlus_Weights
from ship_geo.ops.resample import move
from ship_geo.ops.views import BandView
from ship_geo.ops.windows import Lattice, PreparedWindow
from ship_geo.stats import SceneStats, WindowStats

CPU = torch.device("cpu")
EIGHT = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")


def make_windows(n: int, n_band: int = 4, size: int = 32) -> list[PreparedWindow]:
    generator = torch.Generator().manual_seed(n_band)

    def draw(n_channel: int) -> torch.Tensor:
        return torch.rand(n_channel, size, size, generator=generator) * 900 + 200

    valid = torch.ones(size, size, dtype=torch.bool)
    places = np.arange(0, size, 2)

    def window() -> PreparedWindow:
        ms_up = draw(n_band)
        return PreparedWindow(
            ms_up,
            draw(1),
            draw(n_band),
            valid,
            ms_up,
            coarse=Lattice(draw(2 * n_band + 1)[:, ::2, ::2], places, places),
            plain=Lattice(draw(n_band + 1)[:, ::2, ::2], places, places),
        )

    return [window() for _ in range(n)]


def stats_of(windows: Sequence[PreparedWindow], views: Sequence[BandView] = ()) -> SceneStats:
    whole = slice(None), slice(None)
    views = views or [BandView(0.0, 0.0, 0.3, 1.0)] * len(windows[0].ms_up)
    parts = [WindowStats.measure(window, whole, float(window.ms_up.max())) for window in windows]
    return SceneStats.merged(parts, views=views)


class Recording(ShipPlusPlus):
    """Notes the size of each batch, and runs out of memory once for each size in `fails_at`."""

    def __init__(self, config: ShipPlusPlusConfig, fails_at: Sequence[int] = ()) -> None:
        super().__init__(config)
        self.sizes: list[int] = []
        self.fails_at = list(fails_at)

    def forward(self, ms_stream: torch.Tensor, guide_stream: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(ms_stream))
        if len(ms_stream) in self.fails_at:
            raise torch.OutOfMemoryError
        return super().forward(ms_stream, guide_stream)


def make_fuser(checkpoint: Path, batch_size: int, fails_at: Sequence[int] = ()) -> tuple[NetworkFuser, Recording]:
    known = load_checkpoint(checkpoint)
    network = Recording(known.config, fails_at)  # type: ignore[arg-type]
    network.load_state_dict(known.state)
    return NetworkFuser(network, CPU, "float32", batch_size), network


# Names ----------------------------------------------------------------------------------------


def test_classical_methods_are_found_by_name_in_any_case() -> None:
    spec = ModelSpec.resolve("MTF-GLP-FS")
    assert (spec.name, spec.kind, spec.window, spec.overlap, spec.n_band) == (
        "mtf-glp-fs",
        "classical",
        CLASSICAL_WINDOW,
        0,
        0,
    )


def test_network_brings_its_window_and_identity(tiny_checkpoint: Path) -> None:
    spec = ModelSpec.resolve(tiny_checkpoint)
    assert (spec.kind, spec.path, spec.window, spec.overlap, spec.n_band) == (
        "network",
        str(tiny_checkpoint),
        64,
        16,
        4,
    )
    assert spec.digest == load_checkpoint(tiny_checkpoint).digest
    assert ModelSpec.resolve(str(tiny_checkpoint)).digest == spec.digest
    assert ModelSpec.resolve(load_checkpoint(tiny_checkpoint)).digest == spec.digest


def test_unknown_model_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(
        ArgumentError, match=r"the model is one of auto, .*, got 'sharpest'; choose one of them"
    ) as caught:
        ModelSpec.resolve("sharpest")
    for name in (*METHODS, ShipPlusPlus_Weights.DEFAULT.name):
        assert name in str(caught.value)


def test_network_for_other_images_is_refused(tmp_path: Path) -> None:
    network = ShipPlusPlus(ShipPlusPlusConfig.infrared_visible(n_feature=4, n_order=1, n_stage=1))
    path = save_checkpoint(
        tmp_path / "ir.safetensors", network, window=64, overlap=0, trained_on="-", licence="-", metrics={}
    )
    with pytest.raises(ArgumentError, match=r"a pan-sharpening network reads streams of .* got ShipPlusPlus with"):
        ModelSpec.resolve(path)


# Groups of bands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("red", "green", "blue"), [("blue", "green", "red", "red")]),
        (("nir", "red", "green", "blue"), [("nir", "red", "green", "blue")]),  # all at once: in the order of the file
        (
            ("blue", "green", "red", "nir", "swir1", "swir2"),
            [("blue", "green", "red", "nir"), ("swir1", "swir2", "swir2", "swir2")],
        ),
        (EIGHT, list(GROUPS)),
        (tuple(reversed(EIGHT)), list(GROUPS)),
        (("band1", "band2", "band3", "band4", "band5"), [("band1", "band2", "band3", "band4"), ("band5",) * 4]),
        (("band1",), [("band1",) * 4]),
    ],
)
def test_bands_meet_in_the_groups_of_their_roles(roles: tuple[str, ...], expected: list[tuple[str, ...]]) -> None:
    assert [tuple(roles[index] for index in group) for group in band_groups(roles, 4)] == expected


def test_any_number_of_bands_is_one_group_for_a_classical_method() -> None:
    assert band_groups(EIGHT, 0) == (tuple(range(8)),)


@given(roles=st.permutations(EIGHT).flatmap(lambda all_: st.integers(1, 8).map(lambda n: tuple(all_[:n]))))
def test_every_band_is_in_one_group(roles: tuple[str, ...]) -> None:
    groups = band_groups(roles, 4)
    assert all(len(group) == 4 for group in groups)
    own = [index for group in groups for index in dict.fromkeys(group)]
    assert sorted(own) == list(range(len(roles)))


@pytest.mark.parametrize("n_band", [3, 4, 6, 8])
def test_each_band_comes_back_in_its_place(n_band: int) -> None:
    # An untrained network returns the MS it is given.
    network = ShipPlusPlus(ShipPlusPlusConfig(n_in=N_STREAM * 4, n_guide=N_GUIDE, n_feature=4, n_order=1, n_stage=1))
    windows = make_windows(2, n_band)
    groups = band_groups(EIGHT[:n_band], 4)
    for window, fused in zip(
        windows, NetworkFuser(network, CPU, "float32", 1).fuse(windows, stats_of(windows), groups), strict=True
    ):
        torch.testing.assert_close(fused, window.ms_up, atol=1e-2, rtol=0)


# Places of bands ----------------------------------------------------------------------------------------

SHIFTED = tuple(BandView(row, col, 0.3, 1.0) for row, col in ((0.5, -1.25), (0.0, 0.0), (-1.0, 0.75), (2.0, -3.0)))


def with_places(n: int = 2) -> list[PreparedWindow]:
    """Windows whose bands were brought onto PAN from somewhere else."""
    return [
        replace(on_pan, ms_placed=elsewhere.ms_up)
        for on_pan, elsewhere in zip(make_windows(n), make_windows(n, 4)[::-1], strict=True)
    ]


def test_network_that_adds_nothing_leaves_each_band_where_it_is_wanted() -> None:
    network = ShipPlusPlus(ShipPlusPlusConfig(n_in=N_STREAM * 4, n_guide=N_GUIDE, n_feature=4, n_order=1, n_stage=1))
    windows = with_places()
    stats = stats_of(windows, SHIFTED)
    fuser = NetworkFuser(network, CPU, "float32", 1)
    placed = fuser.fuse(windows, stats, ((0, 1, 2, 3),))
    on_pan = fuser.fuse(windows, replace(stats, onto_pan=True), ((0, 1, 2, 3),))
    for window, left, moved in zip(windows, placed, on_pan, strict=True):
        assert float((window.ms_placed - window.ms_up).abs().max()) > 100
        # standardised and back: float32 rounds
        torch.testing.assert_close(left, window.ms_placed, atol=2e-3, rtol=0)
        torch.testing.assert_close(moved, window.ms_up, atol=2e-3, rtol=0)


@pytest.mark.parametrize("groups", [((0, 1, 2, 3),), ((2, 0, 3, 1),)])
def test_what_a_network_adds_moves_with_its_band(tiny_checkpoint: Path, groups: tuple[tuple[int, ...], ...]) -> None:
    windows = with_places(1)
    stats = stats_of(windows, SHIFTED)
    fuser, _ = make_fuser(tiny_checkpoint, 1)
    (on_pan,) = fuser.fuse(windows, replace(stats, onto_pan=True), groups)
    (placed,) = fuser.fuse(windows, stats, groups)
    added, moved = on_pan - windows[0].ms_up, placed - windows[0].ms_placed
    assert float(added.abs().max()) > 10
    expected = move(added, [(view.row, view.col) for view in SHIFTED])
    torch.testing.assert_close(moved, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(moved[1], added[1], atol=2e-3, rtol=0)
    # two rows down and three columns left on PAN, plainly
    torch.testing.assert_close(moved[3, :-2, 3:], added[3, 2:, :-3], atol=2e-3, rtol=0)


# Batches and memory ----------------------------------------------------------------------------------------


def test_network_that_gives_no_numbers_is_an_error_and_no_output(
    write_pair: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    network = build_model(checkpoint)
    with torch.no_grad():
        for values in network.parameters():
            values.mul_(1e30)  # finite, unlike what comes out
    kept = {name: getattr(checkpoint, name) for name in ("window", "overlap", "trained_on", "licence", "metrics")}
    weights = save_checkpoint(tmp_path / "huge.safetensors", network, **kept)
    pair = write_pair(tmp_path / "pair", (96, 96))
    with pytest.raises(CheckpointError, match=r"a network gives numbers, got NaN or infinity .*: pass others"):
        pansharpen_scene(pair.pan, model=weights, output=tmp_path / "fused.tif", progress=False)
    assert not (tmp_path / "fused.tif").exists()


def test_short_batch_is_padded_to_the_full_size(tiny_checkpoint: Path) -> None:
    fuser, network = make_fuser(tiny_checkpoint, 4)
    windows = make_windows(6)
    fused = fuser.fuse(windows, stats_of(windows), (tuple(range(4)),))
    assert network.sizes == [4, 4]
    assert len(fused) == 6


@pytest.mark.parametrize(("fails_at", "sizes"), [([4], [4, 2, 2, 2]), ([4, 2], [4, 2, 1, 1, 1, 1, 1])])
def test_memory_that_runs_out_halves_the_batch_and_changes_no_byte(
    tiny_checkpoint: Path, fails_at: list[int], sizes: list[int]
) -> None:
    windows = make_windows(5)
    stats, groups = stats_of(windows), (tuple(range(4)),)
    results = []
    for batch_size, failing in ((1, []), (4, fails_at)):
        fuser, network = make_fuser(tiny_checkpoint, batch_size, failing)
        torch.nn.init.zeros_(network.out.weight)  # convolutions round by the size of the batch, the engine does not
        results.append(fuser.fuse(windows, stats, groups))
    assert network.sizes == sizes
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    assert fuser.batch_size == sizes[-1]  # for good


def test_size_of_the_batch_matters_for_rounding_only(tiny_checkpoint: Path) -> None:
    windows = make_windows(5)
    stats, groups = stats_of(windows), (tuple(range(4)),)
    one, four = (make_fuser(tiny_checkpoint, size)[0].fuse(windows, stats, groups) for size in (1, 4))
    for left, right in zip(one, four, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=2e-3)  # DN


def test_single_window_that_does_not_fit_is_an_error(tiny_checkpoint: Path) -> None:
    windows = make_windows(1)
    with pytest.raises(torch.OutOfMemoryError):
        make_fuser(tiny_checkpoint, 2, [2, 1])[0].fuse(windows, stats_of(windows), (tuple(range(4)),))


def test_classical_window_has_the_coefficients_of_the_scene() -> None:
    windows = make_windows(3)
    stats = stats_of(windows)
    for name, method in METHODS.items():
        (fused,) = ClassicalFuser(name).fuse(windows[:1], stats, ((0, 1, 2, 3),))
        one = windows[0]
        expected = method.apply(one.ms_up, one.pan, one.pan_low, method.fit(stats))
        torch.testing.assert_close(fused, expected, rtol=1e-6, atol=1e-3)


# Loading ----------------------------------------------------------------------------------------


def test_network_is_loaded_once_per_process(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def slow_build(checkpoint: Any) -> Any:
        calls.append(threading.get_ident())
        time.sleep(0.2)
        return build_model(checkpoint)

    monkeypatch.setattr(fusers, "build_model", slow_build)
    fusers._load_fuser.cache_clear()
    spec = ModelSpec.resolve(tiny_checkpoint)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: load_fuser(spec, "cpu", "float32"), range(4)))
    assert len(calls) == 1
    assert len(set(map(id, loaded))) == 1


def test_other_weights_at_the_same_place_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copy(tiny_checkpoint, tmp_path / "copy.safetensors")
    spec = replace(ModelSpec.resolve(copy), digest="0" * 64)
    with pytest.raises(
        CheckpointError, match=r"all workers use the same weights, got .* instead of 000000000000 in .*;"
    ):
        load_fuser(spec, "cpu", "float32")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "xla"])
def test_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(
        ArgumentError, match=rf"the device is 'auto', 'cpu' or 'cuda\[:n\]' .* got '{device}' .*use device"
    ):
        pick_device(device)


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"the precision is 'auto', 'float32' or 'bfloat16', got 'half'; choose"):
        pick_precision("half", CPU)
    assert pick_precision("float32", CPU) == "float32"
    assert pick_precision("auto", CPU) in ("float32", "bfloat16")


def test_bfloat16_is_near_float32(tiny_checkpoint: Path) -> None:
    windows = make_windows(1)
    stats, groups = stats_of(windows), (tuple(range(4)),)
    (exact,) = make_fuser(tiny_checkpoint, 1)[0].fuse(windows, stats, groups)
    network = build_model(load_checkpoint(tiny_checkpoint))
    assert isinstance(network, ShipPlusPlus)
    (rounded,) = NetworkFuser(network, CPU, "bfloat16", 1).fuse(windows, stats, groups)
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).abs().mean()) < 0.02 * float(np.std(exact.numpy()))
