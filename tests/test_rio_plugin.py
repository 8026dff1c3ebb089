"""``rio ship``: found by rasterio's command line, in its environment and at its verbosity, else as `ship-geo`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from rasterio.env import get_gdal_config
from rasterio.rio.main import main_group

from ship_geo import api
from ship_geo.cli import pansharpen
from ship_geo.rio_plugin import ship

ROOT = Path(__file__).resolve().parents[1]
ENTRY_POINTS = "[rasterio.rio_plugins]\nship = ship_geo.rio_plugin:ship\n"
Rio = Callable[..., Result]


@pytest.fixture(scope="module")
def pair(write_pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_pair(tmp_path_factory.mktemp("rio"), (128, 128))


@pytest.fixture
def rio(monkeypatch: pytest.MonkeyPatch) -> Rio:
    """Run the command line of rasterio, which has the plugin, in this process."""
    monkeypatch.setitem(main_group.commands, "ship", ship)

    def call(*words: object) -> Result:
        return CliRunner().invoke(main_group, [str(word) for word in words])

    return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Options that reach the public verb, which then fails as a disk that is full."""
    seen: list[dict[str, Any]] = []

    def note(**options: Any) -> None:
        no_sign = get_gdal_config("AWS_NO_SIGN_REQUEST")
        seen.append({**options, "has_env": rasterio.env.hasenv(), "no_sign": no_sign})
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(api, "pansharpen_scene", note)
    return seen


def test_rio_finds_the_command_and_loads_no_torch_for_help(tmp_path: Path) -> None:
    folder = tmp_path / "ship_plugin-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ship-plugin\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    code = (
        "import sys; from rasterio.rio.main import main_group\n"
        "main_group(['ship', '--help'], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "PAN MS... OUT" in done.stdout
    assert "--overwrite" in done.stdout


def test_pair_is_sharpened(rio: Rio, pair: Any, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    done = rio("ship", pair.pan, pair.ms, output, "--model", "brovey", "--register", "off", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["output"] == str(output)
    expected = api.pansharpen_scene(pair.pan, model="brovey")
    with rasterio.open(output) as fused:
        np.testing.assert_array_equal(fused.read(), expected)


def test_options_environment_and_verbosity_reach_the_verb(
    rio: Rio, pair: Any, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    output = tmp_path / "fused.tif"
    words = ("--sensor", "WorldView-2", "--bands", "blue,green,red,nir", "--device", "cpu", "--stac", "--time", "2024")
    assert rio("ship", pair.pan, pair.ms, output, *words).exit_code == 1
    assert rio("-q", "--aws-no-sign-requests", "ship", pair.pan, "b.tif", "g.tif", output).exit_code == 1
    first, second = calls
    assert (first["pan"], first["ms"], first["output"]) == (str(pair.pan), str(pair.ms), str(output))
    assert (first["sensor"], first["bands"]) == ("WorldView-2", ["blue", "green", "red", "nir"])
    assert (first["device"], first["stac"], first["time"], first["progress"]) == ("cpu", True, "2024", True)
    assert first["has_env"]
    assert first["no_sign"] is None
    assert (second["ms"], second["progress"], second["no_sign"]) == (["b.tif", "g.tif"], False, "YES")
    assert (second["model"], second["register"], second["overwrite"]) == ("auto", "report", False)


def test_options_are_those_of_the_package() -> None:
    own, others = ({name for param in command.params for name in param.opts} for command in (ship, pansharpen))
    assert own - others == {"pan", "ms", "output"}
    assert others - own == {"source", "--pan", "--ms", "-o", "--output", "-q", "--quiet"}


def test_output_that_exists_is_replaced_only_with_overwrite(rio: Rio, pair: Any, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    output.write_bytes(b"precious")
    words = ("ship", pair.pan, pair.ms, output, "--model", "exp", "--register", "off")
    refused = rio(*words)
    assert refused.exit_code == 1
    assert f"the output must not exist, got {output}; choose another name or pass --overwrite" in refused.stderr
    assert output.read_bytes() == b"precious"
    assert rio(*words, "--overwrite").exit_code == 0
    with rasterio.open(output) as fused:
        assert fused.count == 4


def test_roles_that_were_exchanged_are_told(rio: Rio, pair: Any, tmp_path: Path) -> None:
    done = rio("ship", pair.ms, pair.pan, tmp_path / "fused.tif", "--model", "exp", "--register", "off")
    assert done.exit_code == 0
    assert "Warning: MS and PAN were exchanged: PAN is the file with one band" in done.stderr


def test_quiet_says_nothing(rio: Rio, pair: Any, tmp_path: Path) -> None:
    done = rio("-q", "ship", pair.pan, pair.ms, tmp_path / "fused.tif", "--model", "exp", "--register", "off")
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["{pan}", "{out}"], 2, "Missing argument 'MS...'"),
        (["{pan}", "none.tif", "{out}"], 1, "a raster file must exist, got none.tif"),
        (["{pan}", "{ms}", "{out}", "--model", "nope"], 2, "the model is one of auto, "),
        (["{pan}", "{ms}", "{out}", "--geometry", "ortho"], 2, "leave --geometry out"),
    ],
)
def test_errors_are_told_and_counted(
    rio: Rio, pair: Any, tmp_path: Path, words: list[str], code: int, text: str
) -> None:
    places = {"pan": pair.pan, "ms": pair.ms, "out": tmp_path / "fused.tif"}
    done = rio("ship", *(word.format(**places) for word in words))
    assert done.exit_code == code
    assert text in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_sigterm_ends_the_command_orderly(rio: Rio, pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "pansharpen_scene", lambda **_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    done = rio("ship", pair.pan, pair.ms, tmp_path / "fused.tif")
    assert (done.exit_code, done.stderr) == (143, "terminated\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_command_is_one_that_rio_can_hold() -> None:
    assert isinstance(ship, click.Command)
    assert ship.name == "ship"
