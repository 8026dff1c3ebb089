from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from deliveries.pixels import formula, write_tiff
from http_files import CUT, serve
from rasterio.windows import Window

from ship_geo.grids import Grid
from ship_geo.raster import BandRef, RasterReader, Tile
from ship_geo.raster.warp import Warp, open_warped, read_warped

SIZE = (60, 70)
SHAPE = (50, 55)
SOURCE = Affine(2, 0, 500000, 0, -2, 4640000)
WARP = Warp(Grid(SHAPE, Affine(2, 0, 500011, 0, -2, 4639993), "EPSG:32633"), source=SOURCE)  # half a pixel off


@pytest.fixture
def values():
    filled = formula(2, *SIZE)
    filled[:, :9] = 0
    return filled


def reader(bands, **options):
    return RasterReader(bands, SHAPE, nodata=0, warp=WARP, files_shape=SIZE, **options)


def both_bands(path):
    return [BandRef(str(path), 1), BandRef(str(path), 2)]


def read_whole(bands, **options):
    with reader(bands, **options) as source:
        return source.read(0, SHAPE[0], 0, SHAPE[1])


@pytest.mark.parametrize("has_two_files", [False, True])
def test_reader_gives_the_blocks_of_a_warp(values, tmp_path, has_two_files):
    first = write_tiff(tmp_path / "a.tif", values, size=2.0)
    second = write_tiff(tmp_path / "b.tif", values[:1] + 3, size=2.0)
    bands = [BandRef(str(first), 2), BandRef(str(second if has_two_files else first), 1)]
    with reader(bands) as source:
        assert source.dtype == np.uint16
        got, got_valid = source.read(-3, 40, 10, 60)
    with open_warped(bands, WARP, nodata=0) as dataset:
        expected, valid = read_warped(dataset, Window(10, 0, 45, 40))
    assert np.array_equal(got[:, 3:, :45], expected)
    assert np.array_equal(got_valid[:, 3:, :45], valid)
    assert not got_valid[:, :3].any()
    assert not got_valid[:, :, 45:].any()


def test_tiles_are_warped_as_the_whole(values, tmp_path):
    tiles = []
    for row, col, n_col in ((0, 0, 40), (0, 40, 30), (30, 0, 40), (30, 40, 30)):
        path, corner = tmp_path / f"{row}_{col}.tif", (500000 + 2 * col, 4640000 - 2 * row)
        write_tiff(path, values[:, row : row + 30, col : col + n_col], size=2.0, corner=corner)
        tiles.append(Tile(str(path), row, col, (30, n_col)))
    whole = read_whole(both_bands(write_tiff(tmp_path / "a.tif", values, size=2.0)))
    for got, expected in zip(read_whole(both_bands("index.til"), tiles=tiles), whole, strict=True):
        assert np.array_equal(got, expected)


def test_file_behind_a_failing_server_is_warped(values, tmp_path):
    path = write_tiff(tmp_path / "a.tif", values, size=2.0)
    with serve(tmp_path, lambda number, _path, _content: CUT if number in {2, 3} else None) as server:
        there = read_whole(both_bands(server.url("a.tif")))
        assert server.n_fault
    for got, expected in zip(there, read_whole(both_bands(path)), strict=True):
        assert np.array_equal(got, expected)
