"""Packing chips: the pack holds what the index names, or is not written."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from ship_geo.data.chips import ChipPack, pack_sources

SCRIPT = Path(__file__).resolve().parents[2] / "pipelines" / "pack_chips.py"
INDEX = "city,year,file\nb,2020,b.tif\na,2020,a.tif\n"

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_chip(path: Path, side: int = 8, dtype: str = "uint8") -> None:
    chip = np.full((4, side, side), ord(path.name[0]), dtype)
    with rasterio.open(path, "w", driver="GTiff", width=side, height=side, count=4, dtype=dtype) as file:
        file.write(chip)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.tif", "b.tif"):
        write_chip(tmp_path / name)
    write_chip(tmp_path / "large.tif", 12)
    write_chip(tmp_path / "deep.tif", dtype="uint16")
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "there.npz").write_text("keep me")
    return tmp_path


@pytest.fixture(scope="module")
def pack() -> Callable[..., Result]:
    script = runpy.run_path(str(SCRIPT))["main"]
    return lambda *words: CliRunner().invoke(script, [str(word) for word in words])


@pytest.mark.parametrize("name", ["pack.npz", "pack"])
def test_pack_holds_what_the_index_names_under_the_name_it_was_given(
    pack: Callable[..., Result], folder: Path, name: str
) -> None:
    (folder / "index.csv").write_text(INDEX)
    words = (folder, folder / "index.csv", folder / name)
    assert pack(*words).exit_code == 0
    assert ChipPack.from_file(folder / name).chips[:, 0, 0, 0].tolist() == [ord("a"), ord("b")]
    assert list(pack_sources(folder / name).values()) == ["a.tif", "b.tif"]
    assert pack(*words).exit_code == 1
    assert pack(*words, "--overwrite").exit_code == 0


def test_index_of_several_folders_gives_each_its_split(pack: Callable[..., Result], folder: Path) -> None:
    rows = f"a,2020,a.tif,{folder.name}\nc,2020,c.tif,elsewhere\n"
    (folder / "index.csv").write_text(f"city,year,file,split\n{rows}")
    assert pack(folder, folder / "index.csv", folder / "pack.npz").exit_code == 0
    assert list(pack_sources(folder / "pack.npz").values()) == ["a.tif"]
    (folder / "index.csv").write_text("city,year,file,split\nc,2020,c.tif,elsewhere\n")
    assert "got 0 rows" in pack(folder, folder / "index.csv", folder / "none.npz").output


@pytest.mark.parametrize(
    ("index", "out", "code", "message"),
    [
        ("", "new.npz", 1, "an index has rows with city, year, file, got 0 rows"),
        ("city,file\na,a.tif\n", "new.npz", 1, "got 1 rows, 1 of them without one, and the columns city, file"),
        (f"{INDEX}a,2020,\n", "new.npz", 1, "got 3 rows, 1 of them without one"),
        (f"{INDEX}a,2020,c.tif\na,2020,d.tif\n", "new.npz", 1, "got 2 that are not, first c.tif"),
        (f"{INDEX}a,2020,large.tif\n", "new.npz", 1, "chips are uint8 of one shape, got uint8 (4, 12, 12)"),
        (f"{INDEX}a,2020,deep.tif\n", "new.npz", 1, "chips are uint8 of one shape, got uint16"),
        (f"{INDEX}a,2020,text.tif\n", "new.npz", 1, "chips are rasters, got"),
        (f"{INDEX}\xe9,2020,a.tif\n", "new.npz", 1, "an index is a CSV file of UTF-8"),
        (INDEX, "missing/new.npz", 1, "the folder of the output must exist"),
        (INDEX, "there.npz", 1, "the output must not exist"),
        (INDEX, "a.tif", 2, "a file to be written must not be one of the inputs"),
        (INDEX, "index.csv", 2, "a file to be written must not be one of the inputs"),
    ],
)
def test_what_cannot_be_packed_is_told_and_nothing_is_written(
    pack: Callable[..., Result], folder: Path, index: str, out: str, code: int, message: str
) -> None:
    (folder / "index.csv").write_bytes(index.encode("latin-1"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = pack(folder, folder / "index.csv", folder / out)
    assert (done.exit_code, type(done.exception)) == (code, SystemExit), done.output
    assert message in done.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
