from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import rasterio
from deliveries.scenes import DrawnPair, write_pair
from rasterio.transform import from_origin

from ship_geo import api
from ship_geo.cli import main
from ship_geo.errors import ProductError


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> DrawnPair:
    return write_pair(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line and return exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


Run = Callable[..., tuple[int, str, str]]


def pair(scene: DrawnPair) -> tuple[object, ...]:
    return "--pan", scene.pan, "--ms", scene.ms


def in_new_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


# Help and version ---------------------------------------------------------------------------------------------------


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from ship_geo.cli import main\n"
        "code = main(['pansharpen', '--help'])\n"
        "heavy = {'torch', 'torchgeo', 'numpy', 'xarray', 'dask', 'rasterio', 'rich', 'PIL', 'matplotlib'}\n"
        "sys.exit(code or ', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = in_new_process(code)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout


def test_info_loads_no_torch(scene: DrawnPair) -> None:
    code = (
        "import sys; from ship_geo.cli import main\n"
        f"code = main(['info', {str(scene.folder)!r}])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    assert in_new_process(code).returncode == 0


def test_version_is_that_of_the_package(run: Run) -> None:
    import ship_geo

    assert run("--version") == (0, f"ship-geo {ship_geo.__version__}\n", "")


@pytest.mark.parametrize("command", ["pansharpen", "info", "quality", "models", "demo"])
def test_every_command_has_help_json_and_debug(run: Run, command: str) -> None:
    code, out, _ = run(command, "-h")
    assert code == 0
    assert "--json" in out
    assert "--debug" in out


# Wrong usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["pansharpen", "-o", "x.tif"], "either SOURCE, or --pan and --ms"),
        (["pansharpen", "a", "--pan", "b", "-o", "x.tif"], "either SOURCE, or --pan and --ms"),
        (["info"], "either SOURCE, or --pan and --ms"),
        (["pansharpen", "a"], "-o OUT"),
        (["quality", "--fused", "a"], "--ms"),
        (["sharpen", "a"], "sharpen"),
        (["demo", "--size", "large"], "large"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, words: list[str], text: str) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert text in err


def test_wrong_usage_is_json_too_when_asked_for(run: Run) -> None:
    code, out, err = run("pansharpen", "--json")
    assert code == 2
    assert "either SOURCE" in err
    error = json.loads(out)["error"]
    assert error["exit_code"] == 2
    assert "either SOURCE" in error["message"]


# Results ------------------------------------------------------------------------------------------------------------


def test_pansharpen_writes_the_pan_grid_and_says_so(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    code, out, err = run("pansharpen", scene.folder, "-o", output, "--model", "brovey")
    assert code == 0, err
    assert "128 x 128 x 4 uint16" in out
    assert "WorldView-2" in out
    assert "megapixels/s" in err
    with rasterio.open(output) as fused, rasterio.open(scene.pan) as pan:
        assert (fused.shape, fused.transform, fused.crs) == (pan.shape, pan.transform, pan.crs)
        assert fused.descriptions == ("blue", "green", "red", "nir")


def test_json_result_is_all_there_is_on_standard_output(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    code, out, _ = run("pansharpen", *pair(scene), "-o", output, "--model", "exp", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["output"] == str(output)
    assert result["shape"] == [4, 128, 128]
    assert result["bands"] == ["blue", "green", "red", "nir"]
    assert result["n_pixel"] == 128 * 128
    assert {"sensor", "model", "model_digest", "seconds", "n_clipped"} <= set(result)


def test_quiet_run_is_silent(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    assert run("pansharpen", scene.pan, "-o", tmp_path / "f.tif", "--model", "exp", "--quiet") == (0, "", "")


def test_bands_may_come_as_one_file_each_in_the_order_given(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    with rasterio.open(scene.ms) as source:
        profile, values = source.profile | {"count": 1}, source.read()
    words: list[object] = []
    for number in (2, 0):
        path = tmp_path / f"band{number}.tif"
        with rasterio.open(path, "w", **profile) as target:
            target.write(values[number], 1)
        words += ["--ms", path]
    code, out, err = run("info", "--pan", scene.pan, *words, "--bands", "red, blue", "--json")
    assert code == 0, err
    assert [band["role"] for band in json.loads(out)["bands"]] == ["red", "blue"]


def test_dry_run_tells_the_plan_and_writes_nothing(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    words = ("pansharpen", scene.folder, "-o", tmp_path / "f.tif", "--model", "gsa", "--dry-run")
    code, out, _ = run(*words)
    assert code == 0
    assert "gsa" in out
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert json.loads(out)["output_shape"] == [4, 128, 128]
    assert list(tmp_path.iterdir()) == []


def test_info_describes_the_scene(run: Run, scene: DrawnPair) -> None:
    code, out, _ = run("info", scene.folder)
    assert code == 0
    assert "WorldView-2" in out
    assert "ratio 4 x 4" in out
    code, out, _ = run("info", scene.folder, "--json")
    assert json.loads(out)["sensor"] == "WorldView-2"


def test_quality_of_the_reference_is_perfect_against_itself(run: Run, scene: DrawnPair) -> None:
    words = ("quality", "--fused", scene.reference, *pair(scene), "--ref", scene.reference, "--quiet")
    code, out, err = run(*words, "--json")
    assert code == 0, err
    told = json.loads(out)
    values = told["totals"]["fused"]
    assert values["sam"] == pytest.approx(0, abs=1e-5)
    assert values["ergas"] == 0
    assert values["q2n"] == pytest.approx(1)
    assert values["psnr"] is None  # infinite, which JSON does not know
    assert 0 < values["hqnr"] < 1
    assert "tiles" not in told
    code, out, _ = run(*words)
    assert "psnr" in out
    assert "inf" in out


def test_quality_without_reference_gives_only_what_needs_none(run: Run, scene: DrawnPair) -> None:
    words = ("quality", "--fused", scene.reference, "--source", scene.folder, "--compare", "exp, gsa", "-q")
    code, out, err = run(*words, "--json", "--tiles")
    assert code == 0, err
    told = json.loads(out)
    values = told["totals"]["fused"]
    assert {"d_lambda", "d_s", "qnr", "hqnr", "d_rho", "r_sam"} <= set(values)
    assert "ergas" not in values
    assert told["methods"] == ["fused", "exp", "gsa"]
    assert np.shape(told["tiles"]["values"]["exp"]["hqnr"]) == tuple(told["tiles"]["shape"])
    code, out, _ = run(*words)
    assert out.splitlines()[0].split() == ["fused", "exp", "gsa"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--source", "a", "b"), 2, "SOURCE or --source"),
        (("--compare", "exp,,gsa"), 2, "names with commas"),
        (("--compare", "best"), 2, "a classical method is one of"),
        (("--border", "1,2,3"), 2, "two with a comma"),
        (("--tile", "100"), 2, "--tile is 'auto' or a multiple of 32"),
        (("--peak", "0"), 2, "--peak is positive"),
        (("--report", "/nowhere/out.html"), 1, "/nowhere"),
        (("--ref", "missing.tif"), 1, "must exist, got missing.tif"),
    ],
)
def test_quality_tells_what_is_wrong(run: Run, scene: DrawnPair, words: tuple[str, ...], code: int, text: str) -> None:
    pairing = () if "--source" in words else pair(scene)
    got, _, err = run("quality", "--fused", scene.reference, *pairing, *words, "-q")
    assert (got, text in err) == (code, True), err


def test_models_lists_networks_and_classical_methods(run: Run) -> None:
    code, out, _ = run("models", "--json")
    assert code == 0
    listed = {model["name"]: model["kind"] for model in json.loads(out)}
    assert listed["mtf-glp-fs"] == "classical"
    assert "network" in listed.values()
    code, out, _ = run("models")
    assert all(name in out for name in listed)


def test_demo_prints_the_table_and_where_the_files_are(run: Run, tmp_path: Path) -> None:
    code, out, err = run("demo", tmp_path / "new", "--size", 256, "--model", "gsa", "-q")
    assert code == 0, err
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()[:5]] == ["method", "exp", "brovey", "mtf-glp-fs", "gsa"]
    assert str(tmp_path / "new" / "demo.png") in out


# Bad input: exit code, one paragraph, nothing left behind -----------------------------------------------------------


def rewrite(source: Path, target: Path, **changes: Any) -> Path:
    """Copy a raster with another profile; `n_band` bands, all of `fill` if that is given."""
    n_band, fill = changes.pop("n_band", None), changes.pop("fill", None)
    with rasterio.open(source) as old:
        values, profile = old.read(), old.profile | changes
    values = values if n_band is None else values[[0] * n_band]
    values = values if fill is None else np.full_like(values, fill)
    with rasterio.open(target, "w", **profile | {"count": len(values)}) as new:
        new.write(values)
    return target


def missing(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    return "--pan", folder / "none_PAN.tif", "--ms", scene.ms


def empty(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    path = folder / "empty.tif"
    path.touch()
    return "--pan", path, "--ms", scene.ms


def truncated(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    path = folder / "half.tif"
    path.write_bytes(scene.pan.read_bytes()[: scene.pan.stat().st_size // 2])
    return "--pan", path, "--ms", scene.ms


def no_raster(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    path = folder / "notes.tif"
    path.write_text("these are notes")
    return "--pan", path, "--ms", scene.ms


def without_crs(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    return "--pan", rewrite(scene.pan, folder / "bare.tif", crs=None), "--ms", scene.ms


def elsewhere(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    moved = rewrite(scene.pan, folder / "far.tif", transform=from_origin(700000, 4000000, 0.5, 0.5))
    return "--pan", moved, "--ms", scene.ms


def three_pans(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    return "--pan", rewrite(scene.pan, folder / "rgb.tif", n_band=3), "--ms", scene.ms


def finer_ms(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    coarse = rewrite(scene.pan, folder / "coarse.tif", transform=from_origin(500000, 4650000, 8, 8))
    return "--pan", coarse, "--ms", scene.ms


def unknown_sensor(scene: DrawnPair, _: Path) -> tuple[object, ...]:
    return *pair(scene), "--sensor", "sputnik"


def unknown_model(scene: DrawnPair, _: Path) -> tuple[object, ...]:
    return *pair(scene), "--model", "magic"


def unknown_device(scene: DrawnPair, _: Path) -> tuple[object, ...]:
    return *pair(scene), "--device", "abacus"


def corrupt_checkpoint(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    path = folder / "weights.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}" * 4)
    return *pair(scene), "--model", path


def no_valid_pixel(scene: DrawnPair, folder: Path) -> tuple[object, ...]:
    return "--pan", scene.pan, "--ms", rewrite(scene.ms, folder / "void.tif", nodata=0, fill=0)


BAD_INPUT = [
    (missing, 1, "none_PAN.tif"),
    (empty, 1, "empty.tif"),
    (truncated, 1, "half.tif"),
    (no_raster, 1, "notes.tif"),
    (without_crs, 2, "CRS"),
    (elsewhere, 2, "overlap"),
    (three_pans, 1, "got 3"),
    (finer_ms, 2, "finer"),
    (unknown_sensor, 2, "sputnik"),
    (unknown_model, 2, "magic"),
    (unknown_device, 2, "abacus"),
    (corrupt_checkpoint, 1, "weights.safetensors"),
    (no_valid_pixel, 1, "valid"),
]


@pytest.mark.parametrize(("make", "code", "text"), BAD_INPUT, ids=[make.__name__ for make, _, _ in BAD_INPUT])
def test_bad_input_is_explained_and_leaves_nothing(
    run: Run,
    scene: DrawnPair,
    tmp_path: Path,
    make: Callable[[DrawnPair, Path], tuple[object, ...]],
    code: int,
    text: str,
) -> None:
    words = ("--model", "exp", *make(scene, tmp_path))
    target = tmp_path / "out"
    target.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what GDAL says of broken files besides
        found, out, err = run("pansharpen", *words, "-o", target / "fused.tif", "--json", "-q")
    assert found == code, err
    assert text in err
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    assert "\n\n" not in err.strip()
    error = json.loads(out)["error"]
    assert error["exit_code"] == code
    assert error["message"] in err
    assert list(target.iterdir()) == []


def test_existing_output_stays_unless_overwriting_is_asked_for(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    output.write_text("precious")
    words = ("pansharpen", *pair(scene), "-o", output, "--model", "exp", "-q")
    code, _, err = run(*words)
    assert code == 1
    assert "fused.tif" in err
    assert "pass --overwrite" in err
    assert run(*words, "--dry-run")[0] == 1
    assert output.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["fused.tif"]
    assert run(*words, "--overwrite") == (0, "", "")
    with rasterio.open(output) as fused:
        assert fused.count == 4


def test_dry_run_looks_at_the_report_and_the_item_too(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    words = ("pansharpen", *pair(scene), "-o", tmp_path / "f.tif", "--model", "exp", "--dry-run")
    report = tmp_path / "report.html"
    assert run(*words, "--report", report)[0] == 0
    report.write_text("precious")
    code, _, err = run(*words, "--report", report)
    assert code == 1
    assert "report.html" in err
    assert run(*words, "--report", tmp_path / "report.pdf")[0] == 2
    code, _, err = run(*words, "--stac")
    assert code == 2
    assert "time" in err  # the pair tells none, and an item needs one
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "words", [("-o", "f.json"), ("-o", "f.IMD"), ("-o", "f.png", "--to", "cog"), ("-o", "f.tif", "--to", "zarr")]
)
def test_output_that_is_named_like_another_format_is_refused(
    run: Run, scene: DrawnPair, words: tuple[str, ...]
) -> None:
    for more in ((), ("--dry-run",)):
        code, _, err = run("pansharpen", *pair(scene), *words, *more, "--model", "exp")
        assert code == 2
        assert "and must be named so, got f." in err
    assert not Path(words[1]).exists()


def test_words_and_names_that_cannot_be_are_told(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    words = ("pansharpen", *pair(scene), "-o", tmp_path / "f.tif")
    code, _, err = run(*words, "--adapt", "²")
    assert (code, "--adapt is 'off', 'auto' or a positive number of steps" in err) == (2, True), err
    code, _, err = run(*words, "--model", "exp", "--report", tmp_path / f"{'n' * 250}.html")
    assert (code, "the name of the output must fit into 200 bytes, got 255" in err) == (1, True), err
    assert list(tmp_path.iterdir()) == []


def test_store_is_written_when_asked_for(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    words = ("pansharpen", *pair(scene), "-o", tmp_path / "fused", "--to", "zarr", "--model", "exp", "--json")
    code, out, err = run(*words, "-q")
    assert code == 0, err
    assert json.loads(out)["shape"] == [4, 128, 128]
    assert (tmp_path / "fused" / "zarr.json").is_file()


def test_output_in_a_missing_folder_is_refused(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    code, _, err = run("pansharpen", *pair(scene), "-o", tmp_path / "no" / "fused.tif", "--model", "exp")
    assert code == 1
    assert str(tmp_path / "no") in err
    assert list(tmp_path.iterdir()) == []


def test_input_is_never_overwritten(run: Run, scene: DrawnPair) -> None:
    before = scene.pan.read_bytes()
    code, _, err = run("pansharpen", *pair(scene), "-o", scene.pan, "--model", "exp", "--overwrite")
    assert code in {1, 2}
    assert scene.pan.name in err
    assert scene.pan.read_bytes() == before


# Faults, interrupts, warnings ---------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def test_report_compares_with_the_methods_that_are_named(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    output, page = tmp_path / "f.tif", tmp_path / "page.html"
    words = ("pansharpen", scene.folder, "-o", output, "--model", "gsa", "-q", "--report", page)
    for names, text in (("exp,,gsa", "names with commas"), ("best", "a classical method is one of")):
        for more in ((), ("--dry-run",)):
            code, _, err = run(*words, "--compare", names, *more)
            assert (code, text in err) == (2, True), err
    code, _, err = run(*words[:-2], "--compare", "exp")
    assert (code, "--compare is for the page of --report" in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []
    code, _, err = run(*words, "--compare", "brovey, EXP,brovey")
    assert code == 0, err
    embedded = page.read_text().split('id="assessment">')[1].split("</script>")[0]
    assert json.loads(embedded)["methods"] == ["fused", "brovey", "exp"]


def test_fault_is_one_line_that_asks_for_a_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "list_models", raising(ZeroDivisionError("by zero")))
    code, out, err = run("models")
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "ZeroDivisionError: by zero" in err
    assert "report" in err


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "list_models", raising(ProductError("broken, got nothing; repair it")))
    assert "Traceback" not in run("models")[2]
    code, _, err = run("models", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("Error: broken, got nothing; repair it\n")


def test_interrupt_exits_with_130_as_shells_expect(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = KeyboardInterrupt()
    error.add_note("2 of 4 blocks are kept")
    monkeypatch.setattr(api, "list_models", raising(error))
    code, out, err = run("models")
    assert code == 130
    assert out == ""
    assert err == "\ninterrupted\n2 of 4 blocks are kept\n"
    assert "Traceback" not in err


def test_warnings_are_one_line_without_source_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> list[dict[str, Any]]:
        warnings.simplefilter("always")
        warnings.warn("the sun is low", UserWarning, stacklevel=2)
        return [{"name": "x", "kind": "y", "title": "z", "citation": "", "licence": "", "bytes": 0}]

    monkeypatch.setattr(api, "list_models", warn)
    code, _, err = run("models")
    assert code == 0
    assert err == "Warning: the sun is low\n"
