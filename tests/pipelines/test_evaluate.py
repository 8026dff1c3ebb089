"""The results table: pairs of every kind, scored as they would be written, in figures that can be redone."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ship_geo import metrics, pansharpen_scene
from ship_geo.adapt import AdaptRecord
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.fusers import ModelSpec
from ship_geo.ops.resample import degrade
from ship_geo.sensors import find_sensor

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
SIZE = 128
RATIO = (4.0, 4.0)

Write = Callable[..., Any]


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts as modules, as Python sees them when one of them is run."""
    names = ("cases", "tables", "evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        yield {name: importlib.import_module(name) for name in names}
        for name in names:
            del sys.modules[name]


@pytest.fixture
def tile(ground: Write) -> Callable[..., dict[str, np.ndarray]]:
    """Make a degraded pair with its reference, at a phase."""

    def make(sensor: str, phase: float, seed: int = 0) -> dict[str, np.ndarray]:
        known = find_sensor(sensor)
        ref = ground(len(known.bands), (SIZE, SIZE), seed) / 2
        side = SIZE // 4
        ms = degrade(torch.from_numpy(ref).float(), (side, side), RATIO, (phase, phase), known.gnyq_ms).numpy()
        return {key: np.rint(values) for key, values in (("ref", ref), ("ms", ms), ("pan", ref.mean(axis=0)))}

    return make


@pytest.fixture
def folder(tmp_path: Path, tile: Write) -> Path:
    """Two pairs as arrays, one of them with a reference."""
    root, meta = tmp_path / "arrays", {}
    root.mkdir()
    for name, sensor, keys in (("town", "GF2", ("ref", "ms", "pan")), ("field", "QB", ("ms", "pan"))):
        made = tile({"QB": "QuickBird-2"}.get(sensor, sensor), 0.0, len(meta))
        np.savez(root / f"{name}.npz", **{key: made[key].astype(np.uint16) for key in keys})
        meta[name] = {"sensor": sensor, "bits": 10 if sensor == "GF2" else 11, "pan_offset_px": [0, 0]}
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def write_h5(path: Path, tiles: list[dict[str, np.ndarray]], *, with_reference: bool = True) -> Path:
    """Write tiles as PanCollection does: float64, all of a kind in one array."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["ms"] = np.stack([made["ms"] for made in tiles])
        file["pan"] = np.stack([made["pan"][None] for made in tiles])
        file["lms"] = np.zeros((len(tiles), 1))
        if with_reference:
            file["gt"] = np.stack([made["ref"] for made in tiles])
    return path


def read(scripts: dict[str, ModuleType], source: Path, **options: Any) -> list[Any]:
    return list(scripts["cases"].read_cases(source, **options))


def sharpen(scripts: dict[str, ModuleType], case: Any, model: str) -> tuple[np.ndarray, np.ndarray]:
    stats = scripts["evaluate"].measure_scene(case)
    return scripts["evaluate"].sharpen(case, ModelSpec.resolve(model), stats, "float32")


# Sources ------------------------------------------------------------------------------------------------------------


def test_arrays_come_with_their_sensor_and_with_a_reference_where_there_is_one(scripts, folder):
    town, field = read(scripts, folder)
    assert (town.sensor.name, town.bits, field.sensor.name) == ("gaofen-2", 10, "quickbird-2")
    assert town.reduced() is town
    assert field.ref is None
    made = field.reduced()
    np.testing.assert_array_equal(made.ref, field.ms)
    assert made.ms.shape == (4, SIZE // 16, SIZE // 16)
    assert (made.ms.dtype, made.pan.shape) == (np.uint16, (SIZE // 4, SIZE // 4))


def test_tiles_of_a_benchmark_lie_as_they_were_degraded(scripts, tmp_path, tile):
    tiles = [tile("WorldView-3", 0.5, seed) for seed in (1, 2)]
    path = write_h5(tmp_path / "test_wv3_multiExm1.h5", tiles)
    cases = read(scripts, path)
    assert [case.name for case in cases] == ["test_wv3_multiExm1#00", "test_wv3_multiExm1#01"]
    assert {(case.phase, case.sensor.name, case.bits) for case in cases} == {((0.5, 0.5), "worldview-3", 11)}
    np.testing.assert_array_equal(cases[1].ref, tiles[1]["ref"])
    assert cases[1].ms.dtype == np.uint16
    assert [case.digest for case in read(scripts, tmp_path)] == [case.digest for case in cases]
    assert len({case.digest for case in cases}) == 2


def test_full_resolution_tiles_have_no_reference(scripts, tmp_path, tile):
    path = write_h5(tmp_path / "tiles.h5", [tile("QuickBird-2", 0.0)], with_reference=False)
    with pytest.raises(ArgumentError, match="the file name tells the sensor, got 'tiles'; pass --sensor"):
        read(scripts, path)
    (case,) = read(scripts, path, sensor="QB")
    assert (case.ref, case.phase, case.sensor.name) == (None, (0.0, 0.0), "quickbird-2")


def test_what_is_no_benchmark_file_and_a_missing_package_are_told(scripts, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "wv3.h5", "w") as file:
        file["gt"] = np.zeros((1, 8, 8, 8))
    with pytest.raises(ProductError, match=r"wv3.h5 holds ms, pan and perhaps gt, .* got gt; pass a file of Pan"):
        read(scripts, tmp_path / "wv3.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ArgumentError, match=r"needs h5py, .* install 'ship-geo\[benchmark\]'"):
        read(scripts, tmp_path / "wv3.h5")


def test_scenes_are_read_with_their_masks_and_scored_as_they_would_be_written(scripts, tmp_path, write_pair):
    ground = np.random.default_rng(0).integers(200, 900, (4, SIZE // 4, SIZE // 4)).astype(float)
    ground[:, :5, :9] = 0
    for stem in ("east", "west"):
        (tmp_path / stem).mkdir()
        write_pair(tmp_path / stem, (SIZE, SIZE), ms=ground, pan=None, nodata=0, stem=stem)
    cases = read(scripts, tmp_path)
    assert sorted(case.name for case in cases) == ["east", "west"]
    case = next(case for case in cases if case.name == "east")
    assert not case.ms_valid[:5, :9].any()
    fused, valid = sharpen(scripts, case, "bt-h")
    written = pansharpen_scene(tmp_path / "east", model="bt-h").to_numpy()
    np.testing.assert_array_equal(valid, (written != 0).any(axis=0))
    np.testing.assert_array_equal(fused[:, valid], written[:, valid])
    assert not case.reduced().ref_valid.all()


def test_folder_without_pairs_is_refused(scripts, tmp_path):
    with pytest.raises(ProductError, match="a source holds pairs, got none in"):
        read(scripts, tmp_path)


# Tables -------------------------------------------------------------------------------------------------------------


def make_row(scripts: dict[str, ModuleType], resolution: str, **values: float) -> Any:
    index = "ergas" if resolution == "reduced" else "hqnr"
    scores = {name.replace("_", "-"): {index: value, "sam": value} for name, value in values.items()}
    return scripts["tables"].Row("a", "a", "S", resolution, (1, 1), RATIO, (0, 0), "", scores)


def test_networks_are_compared_with_the_best_classical_method_but_exp(scripts):
    low = make_row(scripts, "reduced", exp=1.0, gsa=4.0, bt_h=2.0, ours=3.0)
    high = make_row(scripts, "full", exp=0.99, gsa=0.8, bt_h=0.7, ours=0.9)
    assert low.against_best("ours", "ergas") == 1.5
    assert high.against_best("ours", "hqnr") == pytest.approx(0.1)
    other = make_row(scripts, "reduced", exp=1.0, gsa=4.0, bt_h=2.0, ours=1.0)
    told = scripts["tables"].summary([low, other])["against_best"]["ours"]["ergas"]
    assert told == {"mean": 1.0, "error": 0.5, "worst": 1.5}


def test_standard_error_is_that_of_the_mean_of_what_is_known(scripts):
    mean, error = scripts["tables"].mean_and_error([1.0, 3.0, np.nan, 5.0])
    assert (mean, error) == (3.0, pytest.approx(2 / np.sqrt(3)))
    assert np.isnan(scripts["tables"].mean_and_error([1.0])[1])
    assert np.isnan(scripts["tables"].mean_and_error([])[0])


# The script ---------------------------------------------------------------------------------------------------------


def run(scripts: dict[str, ModuleType], *arguments: Any) -> Result:
    return CliRunner().invoke(scripts["evaluate"].main, [str(argument) for argument in arguments])


@pytest.mark.filterwarnings("ignore:.* needs at least one whole valid block:UserWarning")  # tiny at reduced resolution
@pytest.mark.filterwarnings("ignore:.* is NaN:UserWarning")
def test_table_tells_every_scene_and_what_it_was_made_with(scripts, folder, tmp_path, tiny_checkpoint):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / tiny_checkpoint.name
    twin.write_bytes(tiny_checkpoint.read_bytes())
    baselines = [argument for name in ("exp", "gsa", "bt-h") for argument in ("--baseline", name)]
    models = ["--model", tiny_checkpoint, "--model", twin, "--precision", "float32"]
    done = run(scripts, folder, *baselines, *models, "--out", tmp_path / "table")
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "table.json").read_text())
    assert [(row["scene"], row["resolution"]) for row in table["rows"]] == [
        ("town", "reduced"),
        ("town", "full"),
        ("field", "reduced"),
        ("field", "full"),
    ]
    names = ["exp", "gsa", "bt-h", str(tiny_checkpoint), str(twin)]
    assert all(list(row["scores"]) == names for row in table["rows"])
    town = table["rows"][0]["scores"]
    ratio = town[str(twin)]["ergas"] / min(town["gsa"]["ergas"], town["bt-h"]["ergas"])
    assert town[str(twin)] == town[str(tiny_checkpoint)]
    assert set(table["models"]) == {str(tiny_checkpoint), str(twin)}
    assert all(len(row["sha256"]) == 64 for row in table["rows"])
    assert {"command", "commit", "versions", "summary"} <= set(table)
    text = (tmp_path / "table.md").read_text()
    assert table["commit"] in text
    lines = [line for line in text.splitlines() if line.startswith("| town |")]
    (line,) = (line for line in lines if f"{town['gsa']['ergas']:.4f}" in line)
    assert line.endswith(f"| {ratio:.4f} |")
    assert "## Full resolution" in text


@pytest.mark.filterwarnings("ignore:.* needs at least one whole valid block:UserWarning")
@pytest.mark.filterwarnings("ignore:.* is NaN:UserWarning")
def test_networks_are_fitted_to_each_pair_where_that_is_wanted(scripts, folder, tmp_path, tiny_checkpoint, monkeypatch):
    def louder(network, *_):
        tuned = copy.deepcopy(network)
        tuned.out.weight.data.mul_(50)
        return tuned, AdaptRecord(2.0, 1.0, True, 1, 0.5, 1, 1)

    words = ("--model", tiny_checkpoint, "--baseline", "exp", "--resolution", "reduced", "--out", tmp_path / "table")
    for is_small in (True, False):
        if not is_small:
            monkeypatch.setattr(scripts["evaluate"], "adapt", louder)
        done = run(scripts, folder, *words, "--adapt")
        assert done.exit_code == 0, done.output
        assert ("too small" in done.output) == is_small
        for row in json.loads((tmp_path / "table.json").read_text())["rows"]:
            assert list(row["scores"]) == ["exp", tiny_checkpoint.stem, f"{tiny_checkpoint.stem}, fitted"]
            exp, own, fitted = row["scores"].values()
            assert (own == fitted) == is_small
            assert own != exp


def test_scores_are_those_of_the_metrics(scripts, folder):
    town = read(scripts, folder)[0]
    row = scripts["evaluate"].measure(town, {"gsa": ModelSpec.resolve("gsa")}, "reduced", as_published=True)
    fused, _ = sharpen(scripts, town, "gsa")
    cut = np.s_[:, 20:-21, 20:-21]
    assert row.scores["gsa"]["ergas"] == pytest.approx(metrics.ergas(fused[cut], town.ref[cut], ratio=4))
    assert row.scores["gsa"]["sam"] == pytest.approx(metrics.sam(fused[cut], town.ref[cut]))
    assert fused.max() <= 1023


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "got no source; pass SOURCES or --pack"),
        (["SOURCE", "--resolution", "half"], 2, "resolutions are reduced and full, got 'half'"),
        (["SOURCE", "--out", "missing/table"], 2, "the folder of --out exists, got missing"),
        (["SOURCE", "--precision", "float17"], 2, "'float17' is not one of 'auto', 'float32', 'bfloat16'"),
        (["SOURCE", "--out", "SOURCE/folder"], 2, "--out names files, got the folder"),
        (["SOURCE", "--out", "SOURCE/meta"], 2, "a file to be written must not be one of the inputs"),
        (["SOURCE", "--model", "ihs"], 2, "the model is one of auto, exp, brovey, bt-h"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_measured(scripts, folder, arguments, code, words):
    (folder / "folder.md").mkdir()
    before = sorted(folder.iterdir())
    done = run(scripts, *(argument.replace("SOURCE", str(folder)) for argument in arguments))
    assert (done.exit_code, type(done.exception)) == (code, SystemExit), done.output
    assert sorted(folder.iterdir()) == before
    assert words in " ".join(done.output.split())
    assert "done" not in done.output


META = {"sensor": "QB", "bits": 11, "pan_offset_px": [0, 0]}


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("", "meta.json gives sensor, bits and pan_offset_px"),
        ("[1]", "meta.json gives sensor, bits and pan_offset_px"),
        ("{}", "a source holds pairs, got none in"),
        (json.dumps({"field": {"sensor": "QB"}}), "got KeyError('pan_offset_px')"),
        (json.dumps({"field": META | {"sensor": "Hubble"}}), "Hubble"),
        (json.dumps({"field": META | {"pan_offset_px": 0}}), "got TypeError"),
        (json.dumps({"flat": META}), "got KeyError('ms')"),
        (json.dumps({"swapped": META}), "a pair has numbers in ms (band, row, col), here of 1 bands"),
        (json.dumps({"texts": META}), "got (4, 8, 8) <U"),
        (json.dumps({"misfit": META}), "got (4, 8, 8) uint16, (32, 32) uint16, (4, 8, 8) uint16 in misfit"),
        (json.dumps({"missing": META}), "got FileNotFoundError"),
    ],
)
def test_arrays_that_are_no_pairs_fail_with_a_sentence(scripts, folder, meta, message):
    ms, pan = np.ones((4, 8, 8), np.uint16), np.ones((32, 32), np.uint16)
    np.savez(folder / "flat.npz", pan=pan)
    np.savez(folder / "swapped.npz", ms=pan[None, None], pan=ms)
    np.savez(folder / "texts.npz", ms=ms.astype(str), pan=pan)
    np.savez(folder / "misfit.npz", ms=ms, pan=pan, ref=ms)
    (folder / "meta.json").write_text(meta)
    done = run(scripts, folder, "--baseline", "exp", "--model", "exp")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert message in done.output


def test_other_sources_without_pairs_fail_with_a_sentence(scripts, tmp_path):
    pytest.importorskip("h5py")
    (tmp_path / "wv3.h5").write_text("no tiles")
    chips = np.zeros((1, 4, 32, 32), np.uint8)
    np.savez(tmp_path / "pack.npz", chips=chips, city=["a"])
    np.savez(tmp_path / "empty.npz", chips=chips[:0], city=[])
    np.savez(tmp_path / "rgb.npz", chips=chips[:, :3], city=["a"])
    (tmp_path / "nothing").mkdir()
    for words, message in (
        (["nothing"], "a source holds pairs, got none in"),
        (["wv3.h5"], "tiles are read from HDF5, got"),
        (["--pack", "empty.npz"], "a pack has chips (n, band, row, col) of uint8"),
        (["--pack", "rgb.npz"], "chips must have 4 bands, got 3"),
        (["--pack", "pack.npz", "--resolution", "full"], "got simulated pairs at full resolution only"),
    ):
        paths = [tmp_path / word if (tmp_path / word).exists() else word for word in words]
        done = run(scripts, *paths, "--model", "exp")
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), (words, done.output)
        assert message in done.output
