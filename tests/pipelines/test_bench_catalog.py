"""The benchmark of the scene index runs, on a few scenes, and prints what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    command = [sys.executable, ROOT / "pipelines" / "bench" / "catalog.py", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_scenes_of_all_kinds_are_found_and_the_limit_holds(tmp_path):
    done = run("--scenes", 16, "--limit", 0, "--folder", tmp_path, "--json")
    assert done.returncode == 1
    assert "the search must take at most 0.0 s" in done.stderr
    report = json.loads(done.stdout)
    (row,) = report["results"]
    assert (row["scenes"], row["problems"]) == (16, 0)
    assert row["seconds"] > 0
    assert report["limit_s"] == 0
    assert not list(tmp_path.iterdir())
