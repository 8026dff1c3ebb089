"""Every valid delivery end to end: what is said of it, what comes out, and that the way in does not matter."""

from __future__ import annotations

import gc
import json
import math
import re
import tempfile

import numpy as np
import pytest
import rasterio
import torch
from deliveries import digitalglobe, dimap, gaofen, landsat
from deliveries.index import DELIVERIES, GE01, MAXAR_BANDWIDTH, MAXAR_SUN, PHR, WV02, pack, sun_factor
from deliveries.pixels import formula

from ship_geo.api import open_scene, pansharpen_scene
from ship_geo.cli import main
from ship_geo.errors import ArgumentError, ProductError

IDS = list(DELIVERIES)
ARCHIVES = ("zip", "tar", "tar.gz")
PAN_RPC = {  # line offset and scale, sample offset and scale, latitude, longitude
    "wv2_2a_til": (128, 128, 192, 192, 41.9, 15.0),
    "wv3_1b": (240, 240, 320, 320, 41.9, 15.0),
    "qb2_2a": (128, 128, 192, 192, 41.9, 15.0),
    "ge1_2a": (128, 128, 192, 192, 41.9, 15.0),
    "ge1_old": (128, 128, 128, 128, 41.9, 15.0),
    "gf2_tar_new": (159.5, 160, 191.5, 192, 21.7, 108.3),
    "gf2_dir_old": (159.5, 160, 191.5, 192, -33.1, -71.6),
    "gf6_dir": (127.5, 128, 127.5, 128, 39.9, 116.5),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tiny arrays: threads would wait for each other, on a busy machine ten times as long as they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def differences(found, expected, path="record"):
    """Name what differs between two records; texts of notes and warnings are patterns."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or set(found) != set(expected):
            return [f"{path} has {found}, expected the keys of {expected}"]
        return [text for key in expected for text in differences(found[key], expected[key], f"{path}.{key}")]
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{path} is {found}, expected {expected}"]
        pairs = enumerate(zip(found, expected, strict=True))
        return [text for place, pair in pairs for text in differences(*pair, f"{path}[{place}]")]
    if isinstance(expected, float) and isinstance(found, float | int):
        is_place = any(word in path for word in ("transform", "phase", "ratio"))
        # 1e-6 of the smallest pixel, also for coordinates of seven digits
        tolerance = {"rel_tol": 1e-13, "abs_tol": 2e-7} if is_place else {"rel_tol": 1e-9}
        is_same = math.isclose(found, expected, **tolerance)
    elif path.startswith(("record.notes", "record.warnings")):
        is_same = re.search(expected, found) is not None
    else:
        is_same = found == expected
    return [] if is_same else [f"{path} is {found!r}, expected {expected!r}"]


@pytest.fixture(scope="module")
def delivery(tmp_path_factory):
    """Give what a user passes, by the name of the delivery; each is written once."""
    written = {}

    def give(name):
        if name not in written:
            written[name] = DELIVERIES[name].write(tmp_path_factory.mktemp(name))
        return written[name]

    return give


@pytest.mark.parametrize("name", IDS)
def test_info_prints_the_whole_record(delivery, name, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["info", str(delivery(name)), "--json"]) == 0
    assert differences(json.loads(capsys.readouterr().out), DELIVERIES[name].record) == []
    assert list(tmp_path.iterdir()) == []


def sharpen(source=None, output=None, model="brovey", **options):
    """Pixels of the lazy result, or of the written one."""
    options = {"model": model, "register": "off", **options}
    if output is None:
        return pansharpen_scene(source, **options).compute(scheduler="synchronous").to_numpy()
    with pansharpen_scene(source, output=output, progress=False, **options) as fused:
        return fused.to_numpy()


# What comes out ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # sensor geometry has none
@pytest.mark.parametrize(
    ("name", "model"),
    [(name, "mtf-glp-fs" if name in ("wv2_2a_til", "l7_c1") else "brovey") for name in IDS],
)
def test_output_lies_on_pan_and_keeps_what_is_known(delivery, name, model, tmp_path):
    expected, path = DELIVERIES[name].record, tmp_path / "fused.tif"
    sharpen(delivery(name), path, model)
    grid = expected["output"]
    with rasterio.open(path) as fused:
        assert (*fused.shape, fused.count) == (*grid["shape"], len(expected["bands"]))
        assert fused.descriptions == tuple(band["description"] or band["role"] for band in expected["bands"])
        assert set(fused.dtypes) == {expected["ms"]["dtype"]}
        assert fused.nodata == expected["ms"]["nodata"]
        assert fused.tags().get("ACQUISITION_TIME") == expected["time"]
        assert fused.tags().get("PLATFORM") == expected["platform"]
        assert fused.tags()["SHIP_GEO_GEOMETRY"].startswith(expected["geometry"])
        assert (None if fused.crs is None else fused.crs.to_string()) == expected["crs"]
        if expected["crs"] is not None:
            size = grid["resolution"][0]
            for corner in ((0, 0), (0, fused.width), (fused.height, 0), fused.shape):
                place = fused.transform @ corner[::-1] if hasattr(fused.transform, "__matmul__") else None
                place = place or fused.transform * corner[::-1]
                a, _, c, _, e, f = grid["transform"]
                assert place == pytest.approx((c + a * corner[1], f + e * corner[0]), rel=0, abs=1e-6 * size)
        assert (fused.rpcs is not None) == expected["rpc"]
        if expected["rpc"]:
            check_ground(fused.rpcs, PAN_RPC[name], expected["overlap"])
    assert [file.name for file in tmp_path.iterdir()] == ["fused.tif"]


def check_ground(rpcs, pan, overlap):
    """Ground points of PAN pixels must be those of the same pixels of the output, to 1e-6 pixel."""
    line, line_scale, sample, sample_scale, lat, lon = pan
    linear = {"line_num_coeff": {2: -1.0}, "samp_num_coeff": {1: 1.0}, "line_den_coeff": {0: 1.0}}
    for key, terms in {**linear, "samp_den_coeff": {0: 1.0}}.items():
        assert list(getattr(rpcs, key)) == [terms.get(place, 0.0) for place in range(20)]
    for row, col in ((overlap[0], overlap[2]), (overlap[1] - 1, overlap[3] - 1), (100, 31)):
        north, east = -0.005 * (row - line) / line_scale, 0.005 * (col - sample) / sample_scale
        point = (lat + north - rpcs.lat_off) / rpcs.lat_scale, (lon + east - rpcs.long_off) / rpcs.long_scale
        assert rpcs.line_off - rpcs.line_scale * point[0] == pytest.approx(row - overlap[0], abs=1e-6)
        assert rpcs.samp_off + rpcs.samp_scale * point[1] == pytest.approx(col - overlap[2], abs=1e-6)


# The way in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_every_member_is_the_same_scene(delivery, name):
    root = delivery(name)
    if not root.is_dir():
        root = DELIVERIES[name].write(root.parent, kind="dir")
    plan = open_scene(root).to_dict()
    members = [file for file in sorted(root.rglob("*")) if file.is_file() and file.name != "README.TXT"]
    for member in members:
        assert open_scene(member).to_dict() == plan, member


@pytest.mark.parametrize("name", [name for name in IDS if not name.startswith(("pair", "stack"))])
def test_bytes_do_not_depend_on_the_way_in(name, tmp_path):
    folder, scratch = tmp_path / "in", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    root = DELIVERIES[name].write(folder, **DELIVERIES[name].small)
    expected = sharpen(root)
    scene = open_scene(root)
    ms, pan = [*scene.ms.paths], scene.pan.paths[0]
    ways = {kind: {"source": pack(root, tmp_path / f"{root.name}.{kind}"), "scratch": scratch} for kind in ARCHIVES}
    ways |= {"pan": {"source": pan}, "pair": {"ms": ms, "pan": pan}, "swapped": {"ms": pan, "pan": ms[-1]}}
    for way, how in ways.items():
        assert np.array_equal(sharpen(**how), expected), way
    gc.collect()
    assert list(scratch.iterdir()) == []
