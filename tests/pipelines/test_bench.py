"""The benchmarks run, on scenes so small that their figures mean nothing, and print what they promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "pipelines" / "bench"


def run(script: str, *arguments: str | int | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, BENCH / script, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def result_of(script: str, *arguments: str | int | Path) -> dict[str, Any]:
    done = run(script, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_speed_has_a_row_for_everybody_and_two_ratios(tmp_path: Path, tiny_checkpoint: Path) -> None:
    report = result_of(
        "speed.py", "--size", 128, "--model", tiny_checkpoint, "--windows", 1, "--repeat", 1, "--folder", tmp_path
    )
    rows = {row["contestant"]: row for row in report["results"]}
    assert len(rows) == 5
    assert all(row["median_s"] > 0 and row["megapixels_per_second"] > 0 for row in rows.values())
    brovey, gdal = rows["end to end, brovey"], rows["end to end, GDAL"]
    assert brovey["ratio"] == pytest.approx(brovey["megapixels_per_second"] / gdal["megapixels_per_second"], abs=0.01)
    assert [row["ratio"] is None for row in rows.values()] == [True, False, True, False, True]
    assert report["size"] == 128
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_memory_is_that_of_the_whole_process_and_fails_above_the_limit(tmp_path: Path) -> None:
    done = run("memory.py", "--size", 128, "--model", "exp", "--limit", 50, "--folder", tmp_path, "--json")
    assert done.returncode == 1
    assert "the peak must be at most 50 MB, got" in done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert 100 < row["peak_mb"] < 5000  # Python with its libraries at least
    assert row["seconds"] > 0
    assert row["processes"] >= 1
    assert not list(tmp_path.iterdir())


def test_memory_of_an_assessment_fails_above_the_limit(tmp_path: Path) -> None:
    words = ("--size", 256, "--compare", "exp", "--limit", 50, "--folder", tmp_path, "--json")
    done = run("assess_memory.py", *words)
    assert done.returncode == 1
    assert "the peak must be at most 50 MB, got" in done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert 100 < row["peak_mb"] < 5000
    assert not list(tmp_path.iterdir())


def test_import_time_tells_heavy_packages_of_every_module() -> None:
    report = result_of("import_time.py", "--repeat", 1, "--module", "ship_geo.tiling", "--module", "ship_geo.cli")
    rows = {row["module"]: row for row in report["results"]}
    assert list(rows) == ["ship_geo", "ship_geo.tiling", "ship_geo.cli"]
    assert rows["ship_geo"]["heavy"] == []
    assert "numpy" in rows["ship_geo.tiling"]["heavy"]
    assert rows["ship_geo"]["median_s"] < rows["ship_geo.tiling"]["median_s"]


def test_import_above_the_limit_fails() -> None:
    done = run("import_time.py", "--repeat", "1", "--limit", "0")
    assert done.returncode == 1
    assert "the import must take at most 0.0 s" in done.stderr


def test_scene_is_a_pair_on_one_ground(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from common import write_scene; write_scene(Path(sys.argv[1]), 1100, 3)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], env=os.environ | {"PYTHONPATH": str(BENCH)}, check=True)
    with rasterio.open(tmp_path / "scene_PAN.tif") as pan, rasterio.open(tmp_path / "scene_MS.tif") as ms:
        assert (pan.shape, ms.shape, ms.count) == ((1100, 1100), (275, 275), 3)
        assert pan.bounds == ms.bounds
        assert pan.dtypes[0] == ms.dtypes[0] == "uint16"
        assert pan.block_shapes == [(256, 256)]
        means = pan.read(1).reshape(275, 4, 275, 4).mean(axis=(1, 3)).ravel()
        for band in ms.read():
            assert np.corrcoef(means, band.ravel())[0, 1] > 0.999


@pytest.mark.slow
def test_laziness_tells_what_a_window_reads_and_what_a_graph_costs(tmp_path: Path) -> None:
    sizes = ("--size", 512, "--graph-size", 8192, "--window", 64)
    (row,) = result_of("laziness.py", *sizes, "--model", "exp", "--folder", tmp_path)["results"]
    assert row["asked_while_building"] == 0
    assert 0 < row["graph_s"] < 60
    assert row["graph_chunks"] == 16**2
    assert row["scene_bytes"] > 512 * 512 * 2
    assert row["asked_bytes"] > 0
    assert row["read_bytes"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_whole_run_keeps_to_its_memory(tmp_path: Path) -> None:
    budget = 1700
    limits = ("--max-memory", f"{budget}MiB", "--limit", budget * 2**20 / 1e6)
    (row,) = result_of("memory.py", "--size", 2048, "--model", "brovey", *limits, "--folder", tmp_path)["results"]
    assert row["peak_mib"] <= budget
