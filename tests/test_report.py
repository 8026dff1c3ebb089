"""The report: one file whose pictures fit, whose text is escaped, and which appears whole or not at all."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_scenes import Pixels, judged_scene
from PIL import Image

from ship_geo import api
from ship_geo.api import pansharpen_scene
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.report import Sheet, write_report
from ship_geo.report.colour import Stretch, choose_bands
from ship_geo.report.histograms import Histogram
from ship_geo.report.page import embed, fill_page


def embedded(page: str, name: str) -> Any:
    """The JSON of a page by the id of its element."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def picture(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_embedded_record_is_the_json_of_the_assessment() -> None:
    judged = judged_scene()
    assert embedded(fill_page(Sheet.of(judged)), "assessment") == json.loads(judged.to_json())


def test_text_of_users_cannot_end_its_element() -> None:
    nasty = '</script><script>alert(1)</script><!-- "&\u2028'
    judged = judged_scene()
    page = fill_page(Sheet.of(replace(judged, scene={**judged.scene, "name": nasty})))
    assert "<script>alert" not in page
    assert "<!--" not in page
    assert embedded(page, "assessment")["scene"]["name"] == nasty
    assert "<title>&lt;/script&gt;" in page


def test_embedded_json_is_the_value() -> None:
    value = {"a": ["<b>&amp;", "\u2029", 1.5, None]}
    assert json.loads(embed(value)) == value
    assert not set("<>&\u2029") & set(embed(value))


def test_page_names_no_address() -> None:
    page = fill_page(Sheet.of(judged_scene()))
    found = re.findall(r"""(?:src|href)=["']([^"']{0,30})""", page)
    assert found
    assert all(address.startswith(("data:", "#")) for address in found)
    assert set(re.findall(r"https?://[^\s\"'<]*", page)) == {"http://www.w3.org/2000/svg"}  # a name, never asked for


def test_before_and_after_share_one_stretch() -> None:
    judged = judged_scene()
    pixels = judged.pixels
    assert isinstance(pixels, Pixels)
    same = Pixels(pixels.ms_up, pixels.ms_up, pixels.pan, pixels.valid)
    look = Sheet.of(replace(judged, pixels=same)).quicklook
    assert look is not None
    assert look.ms == look.fused
    brighter = Pixels(pixels.ms_up + 100, pixels.ms_up, pixels.pan, pixels.valid)
    other = Sheet.of(replace(judged, pixels=brighter)).quicklook
    assert other is not None
    assert picture(other.fused).mean() > picture(other.ms).mean() + 5


def test_mask_is_opaque_exactly_where_nothing_is_valid() -> None:
    judged = judged_scene(hole=True)
    look = Sheet.of(judged).quicklook
    assert look is not None
    mask = Image.open(io.BytesIO(base64.b64decode(look.mask.partition(",")[2]))).convert("RGBA")
    assert isinstance(judged.pixels, Pixels)
    assert ((np.asarray(mask)[..., 3] == 0) == judged.pixels.valid).all()


def test_pixels_without_data_are_grey() -> None:
    look = Sheet.of(judged_scene(hole=True)).quicklook
    assert look is not None
    for address in (look.ms, look.pan, look.fused):
        assert np.abs(picture(address)[:48, :48].astype(int) - 128).max() <= 4


def test_pictures_shrink_until_the_page_fits() -> None:
    judged = judged_scene(side=768)
    large, small = (fill_page(Sheet.of(judged, max_bytes=size)) for size in (5_000_000, 900_000))
    assert len(small.encode()) <= 900_000 < len(large.encode()) <= 5_000_000


def test_tiles_of_compared_methods_are_left_out_when_the_record_is_too_large() -> None:
    judged = judged_scene(n_tile=40)
    size = len(judged.to_json())
    sheet = Sheet.of(judged, max_bytes=int(size * 1.2))
    assert list(sheet.record["tiles"]["values"]) == ["fused"]
    assert sheet.record["totals"] == judged.record()["totals"]
    assert "left out" in sheet.notes[0]


def test_worst_tiles_come_worst_first() -> None:
    judged = judged_scene()
    sheet = Sheet.of(judged)
    values = sheet.record["tiles"]["values"]["fused"][sheet.worst_index]
    shown = [values[tile.row][tile.col] for tile in sheet.worst]
    assert shown == sorted(shown)
    assert shown[0] == min(value for row in values for value in row if value is not None)


def test_assessment_without_pixels_makes_a_page_of_numbers() -> None:
    page = fill_page(Sheet.of(replace(judged_scene(), pixels=None)))
    assert embedded(page, "sheet")["quicklook"] is None
    assert "data:image" not in page


@pytest.mark.parametrize(
    ("roles", "bands"),
    [
        (("blue", "green", "red", "nir"), (2, 1, 0)),
        (("nir", "red", "green"), (0, 1, 2)),
        (("a", "b", "c", "d"), (2, 1, 0)),
        (("pan",), (0, 0, 0)),
    ],
)
def test_bands_are_chosen_by_role(roles: tuple[str, ...], bands: tuple[int, int, int]) -> None:
    assert choose_bands(roles) == bands


def test_tightened_stretch_keeps_hues() -> None:
    scene = Stretch(np.array([0.0, 100.0]), np.array([200.0, 300.0]))
    grey = np.linspace(0.2, 0.4, 100)[None, None] * 200 + np.array([0.0, 100.0])[:, None, None]
    shown = scene.tightened(grey.astype(np.float32), np.ones((1, 100), bool)).apply(grey.astype(np.float32))
    assert np.abs(shown[..., 0].astype(int) - shown[..., 1]).max() <= 1


def test_clouds_do_not_leave_the_ground_in_the_dark() -> None:
    random = np.random.default_rng(1)
    scene = random.uniform(90, 210, (3, 100, 100)).astype(np.float32)
    scene[:, :8] = 2000
    shown = Stretch.of(scene, np.ones((100, 100), bool)).apply(scene)
    assert 45 < np.median(shown) < 110
    assert shown.max() == 255


def test_merged_histogram_keeps_all_that_is_not_rare() -> None:
    counts = np.bincount(np.random.default_rng(0).normal(500, 60, 100_000).astype(int), minlength=2048).astype(float)
    drawn = Histogram.of("red", np.arange(2048.0), counts, counts)
    assert len(drawn.ms) <= 96
    assert len(drawn.edges) == len(drawn.ms) + 1
    assert 0.997 < sum(drawn.ms) <= 1
    assert drawn.edges[0] == pytest.approx(500 - 3.09 * 60, abs=10)


def test_histogram_of_nothing_is_empty() -> None:
    drawn = Histogram.of("red", np.arange(256.0), np.zeros(256), np.zeros(256))
    assert (drawn.ms, drawn.fused) == ((0.0,), (0.0,))


def test_report_is_not_written_over_a_file_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="must not exist"):
        write_report(judged_scene(), path)
    assert path.read_text() == "mine"
    assert write_report(judged_scene(), path, overwrite=True) == path
    assert path.read_text().startswith("<!doctype html>")


def test_failed_report_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(judged_scene(), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_report_is_named_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"must be named \.html"):
        write_report(judged_scene(), tmp_path / "page.pdf")


@pytest.fixture(scope="module")
def pair(write_pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    write_pair(folder, (160, 160), seed=3)
    return folder


def test_sharpening_writes_a_report_of_what_was_written(pair: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    how = {"model": "gsa", "compare": ("exp", "brovey"), "progress": False}
    pansharpen_scene(pair, output=tmp_path / "out.tif", report=path, **how).close()
    record = embedded(path.read_text(encoding="utf-8"), "assessment")
    assert record["methods"] == ["fused", "exp", "brovey"]
    assert record["scene"]["fused"] == "out.tif"
    assert record["scene"]["tags"]["SHIP_GEO_MODEL"] == "gsa"
    assert record["scene"]["shift"] is not None
    assert str(pair) not in path.read_text(encoding="utf-8")


def test_run_that_ends_before_its_report_is_written_tells_that_nothing_else_is_missing(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "assess", interrupt)
    with pytest.raises(KeyboardInterrupt) as told:
        pansharpen_scene(pair, output=tmp_path / "out.tif", report=tmp_path / "page.html", model="exp")
    missing = f"{tmp_path}/out.tif is finished, the report is not; make it with `ship-geo quality`"
    assert told.value.__notes__ == [missing]


@pytest.mark.parametrize(("compare", "text"), [(("exp", "best"), "one of exp"), ("exp", "write ['exp']")])
def test_methods_that_are_none_are_refused_before_any_work(pair: Path, tmp_path: Path, compare: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(text)):
        pansharpen_scene(pair, model="gsa", output=tmp_path / "f.tif", report=tmp_path / "r.html", compare=compare)
    assert list(tmp_path.iterdir()) == []


def test_report_that_cannot_be_written_is_refused_before_any_work(pair: Path, tmp_path: Path) -> None:
    output, path = tmp_path / "out.tif", tmp_path / "page.html"
    path.write_text("mine")
    for message, error, how in (
        ("must not exist", OutputError, {"output": output}),
        ("without `output=`", ArgumentError, {}),
        ("compares DN", ArgumentError, {"output": output, "radiometry": "toa"}),
    ):
        with pytest.raises(error, match=message):
            pansharpen_scene(pair, report=path, model="gsa", **how)
    assert not output.exists()
    assert path.read_text() == "mine"
