from __future__ import annotations

import threading
import time
from dataclasses import replace

import http_files
import numpy as np
import pytest
import rasterio
from affine import Affine
from http_files import BROKEN, CUT, RESET, serve

from ship_geo.api import open_scene, pansharpen_scene
from ship_geo.errors import ProductError
from ship_geo.raster import BandRef, RasterReader, inspect, network

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_thread_is_left", "short_waits")]


@pytest.fixture
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    assert left == []


@pytest.fixture
def short_waits(monkeypatch):
    monkeypatch.setattr(network, "_WAITS", (0.01,) * 6)
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")


def every(step, kind):
    return lambda number, path, has_content: kind if number % step == 0 else None  # noqa: ARG005


def nth_content(wanted, kind):
    """Fail the n-th request that wants content."""
    seen = []

    def fault(number, path, has_content):  # noqa: ARG001
        seen.extend([number] if has_content else [])
        return kind if has_content and len(seen) == wanted else None

    return fault


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def town(folder, write_pair):
    return write_pair(folder, (192, 192), roles=("red", "green", "blue", "nir"))


@pytest.fixture(scope="module")
def large(folder):
    """A tiled file of 8 MB whose tags and directory lie at its end, and its values."""
    values = np.random.default_rng(0).integers(1, 2000, (1, 2048, 2048)).astype(np.uint16)
    profile = {"driver": "GTiff", "count": 1, "height": 2048, "width": 2048, "dtype": "uint16", "crs": "EPSG:32633"}
    tiling = {"tiled": True, "blockxsize": 128, "blockysize": 128, "transform": Affine(1, 0, 5, 0, -1, 5)}
    with rasterio.open(folder / "large.tif", "w", **profile, **tiling) as file:
        file.write(values)
    with rasterio.open(folder / "large.tif", "r+") as file:
        file.update_tags(NOTE="x" * 20_000)
        file.set_band_description(1, "red")
        file.nodata = 7
    return values


def remote_pair(server):
    return {"ms": server.url("town_MS.tif"), "pan": server.url("town_PAN.tif")}


def sharpen(output, **pair):
    with pansharpen_scene(**pair, model="brovey", output=output, progress=False) as fused:
        return fused.values


@pytest.fixture(scope="module")
def from_disk(town, tmp_path_factory):
    return sharpen(tmp_path_factory.mktemp("fused") / "disk.tif", ms=town.ms, pan=town.pan)


# A pair elsewhere ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, every(3, CUT), every(3, BROKEN), every(3, RESET), every(4, 503)])
def test_pair_behind_a_failing_server_is_sharpened_as_from_disk(town, folder, from_disk, tmp_path, fault):
    del town
    with serve(folder, fault) as server:
        fused = sharpen(tmp_path / "fused.tif", **remote_pair(server))
        assert (server.n_fault > 0) == (fault is not None)
    assert np.array_equal(fused, from_disk)


def test_scene_elsewhere_is_that_on_disk(town, folder):
    with serve(folder) as server:
        there, here = open_scene(**remote_pair(server)), open_scene(ms=town.ms, pan=town.pan)
    assert (there.pair, there.sensor, there.ms.roles) == (here.pair, here.sensor, here.ms.roles)


def test_dead_server_is_told_within_seconds_and_leaves_no_output(tmp_path):
    url = f"http://127.0.0.1:{http_files.free_port()}"
    start = time.monotonic()
    with pytest.raises(ProductError, match=rf"must be readable, got {url}/\w+.tif \(.*onnect.*\); check the network"):
        sharpen(tmp_path / "fused.tif", ms=f"{url}/ms.tif", pan=f"{url}/pan.tif")
    assert time.monotonic() - start < 5
    assert list(tmp_path.iterdir()) == []


def test_server_that_dies_while_it_is_read_leaves_no_output(town, folder, tmp_path, monkeypatch):
    del town
    monkeypatch.setattr(network, "_WAITS", (0.01,))
    with serve(folder) as server:
        scene = open_scene(**remote_pair(server))
        server.fault = lambda number, path, has_content: RESET  # noqa: ARG005
        # What was looked at may lie in GDAL's cache: another address is the same file to the server.
        pan = replace(scene.pan, files=(BandRef(server.url("town_PAN.tif?other"), 1),))
        with pytest.raises(ProductError, match=r"must be readable, got http://127.0.0.1:\d+/town_PAN.tif \("):
            pansharpen_scene(replace(scene, pan=pan), model="brovey", output=tmp_path / "o.tif", progress=False)
    assert list(tmp_path.iterdir()) == []


# Single files --------------------------------------------------------------------------------------------------------


def test_one_window_takes_a_part_of_the_bytes(large, folder):
    with serve(folder) as server:
        url = server.url("large.tif")
        with RasterReader([BandRef(url, 1)], inspect(url).grid.shape, nodata=7) as reader:
            values, _ = reader.read(1000, 1100, 500, 600)
        assert server.n_byte < 0.1 * large.nbytes
    assert np.array_equal(values, large[:, 1000:1100, 500:600])


@pytest.mark.parametrize("kind", [CUT, BROKEN, RESET, 503])
def test_window_of_many_requests_survives_a_third_of_them_failing(large, folder, kind):
    with serve(folder, every(3, kind)) as server:
        url = server.url("large.tif")
        with RasterReader([BandRef(url, 1)], inspect(url).grid.shape, nodata=7) as reader:
            values, valid = reader.read(0, 1000, 900, 1900)
        assert server.n_fault > 5
    assert np.array_equal(values, large[:, :1000, 900:1900])
    assert np.array_equal(valid, values != 7)


@pytest.mark.parametrize("wanted", range(1, 7))
def test_header_that_arrives_in_part_costs_no_tag(large, folder, wanted):
    # GDAL opens such a file with a warning in the log, without the tags that did not come.
    del large
    with serve(folder, nth_content(wanted, CUT)) as server:
        there, here = inspect(server.url("large.tif")), inspect(folder / "large.tif")
    assert there == replace(here, path=there.path)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"must exist, got http://127\.0\.0\.1:\d+/large\.tif \(HTTP response code: 404\); check the address"),
        (403, r"must be open to you, got http://127\.0\.0\.1:\d+/large\.tif \(.*403\); check the credentials"),
        (401, r"must be open to you, got http://127\.0\.0\.1:\d+/large\.tif \(.*401\); check the credentials"),
        (500, r"must be readable, got http://127\.0\.0\.1:\d+/large\.tif \(.*500, after 7 tries\); check the network"),
    ],
)
def test_refusals_of_a_server_are_told_apart(large, folder, status, message):
    del large
    with serve(folder, lambda number, path, has_content: status) as server:  # noqa: ARG005
        with pytest.raises(ProductError, match=message):
            inspect(server.url("large.tif"))
        if 400 < status < 500:
            assert len(server.requests) < 9


def test_file_that_appears_later_is_found(large, folder):
    del large
    with serve(folder) as server:
        with pytest.raises(ProductError, match=r"must exist, got .*later.tif"):
            inspect(server.url("later.tif"))
        (folder / "later.tif").write_bytes((folder / "large.tif").read_bytes())
        assert inspect(server.url("later.tif")).descriptions == ("red",)


def test_secrets_of_an_address_are_not_told(folder, capfd):
    secret = "s3cr%2Ft"
    with serve(folder) as server:
        url = server.url(f"gone.tif?sig={secret}&x=1").replace("http://", "http://me:pass@")
        with pytest.raises(ProductError, match=r"got http://127.0.0.1:\d+/gone.tif \(") as caught:
            inspect(url)
    told = f"{caught.value} {caught.value.__cause__} {''.join(capfd.readouterr())}"
    assert not any(word in told for word in ("s3cr", "pass@", "me:"))


def test_bucket_is_read(large, folder, monkeypatch):
    with serve(folder.parent) as server:
        for name, value in {
            "AWS_S3_ENDPOINT": f"127.0.0.1:{server.server_port}",
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_NO_SIGN_REQUEST": "YES",
        }.items():
            monkeypatch.setenv(name, value)
        path = f"/vsis3/{folder.name}/large.tif"
        with RasterReader([BandRef(path, 1)], inspect(path).grid.shape) as reader:
            values, _ = reader.read(0, 10, 0, 10)
        assert server.requests
        with pytest.raises(ProductError, match=rf"must exist, got /vsis3/{folder.name}/gone.tif"):
            inspect(f"/vsis3/{folder.name}/gone.tif")
    assert np.array_equal(values, large[:, :10, :10])


def test_curl_path_is_read(large, folder):
    with serve(folder, every(3, CUT)) as server:
        path = f"/vsicurl/{server.url('large.tif')}"
        with RasterReader([BandRef(path, 1)], inspect(path).grid.shape) as reader:
            values, _ = reader.read(2000, 2048, 0, 300)
    assert np.array_equal(values, large[:, 2000:, :300])


def test_mosaic_behind_a_failing_server_is_read(large, folder):
    from ship_geo.raster import Tile

    with serve(folder, every(8, CUT)) as server:
        tiles = [Tile(server.url(f"large.tif?{i}"), 0, 2048 * i, (2048, 2048)) for i in range(2)]
        with RasterReader([BandRef("index.til", 1)], (2048, 4096), tiles=tiles) as reader:
            values, _ = reader.read(100, 200, 2000, 2100)
    assert np.array_equal(values[0], np.hstack([large[0, 100:200, 2000:], large[0, 100:200, :52]]))


def test_options_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    with rasterio.Env(GDAL_HTTP_CONNECTTIMEOUT="3"):
        options = network.network_options()
    assert not {"GDAL_HTTP_MAX_RETRY", "GDAL_HTTP_CONNECTTIMEOUT"} & set(options)
    assert "GDAL_HTTP_LOW_SPEED_TIME" in options


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("https://host/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("/vsis3/bucket/a.tif", True),
        ("/vsizip//vsicurl/https://host/a.zip/a.tif", True),
        ("/vsizip/{/data/a.zip}/a.tif", False),
        ("zip:///data/a.zip!a.tif", False),
        ("/data/s3/a.tif", False),
    ],
)
def test_paths_over_a_network(path, expected):
    assert network.is_network(path) == expected


def test_archives_on_disk_are_tried_once(tmp_path, monkeypatch):
    import zipfile

    monkeypatch.setattr(network, "_WAITS", (60.0,))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.tif", b"II*\x00" + b"\xff" * 300)
    with pytest.raises(ProductError, match="must be readable"):
        inspect(f"/vsizip/{{{tmp_path}/a.zip}}/a.tif")
