from __future__ import annotations

import multiprocessing
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.errors import ProductError
from ship_geo.raster import BandRef, RasterReader, find_valid, inspect, is_remote


class WriteRaster(Protocol):
    def __call__(self, name: str, array: np.ndarray, *args: Any, **options: Any) -> Path: ...


def count_up(n_band: int, n_row: int, n_col: int, dtype: str = "uint16") -> np.ndarray:
    return (np.arange(n_band * n_row * n_col) + 1).reshape(n_band, n_row, n_col).astype(dtype)


def test_inspect_tells_grid_bands_and_tags(raster: WriteRaster) -> None:
    path = raster("a.tif", count_up(2, 5, 7), nodata=9, descriptions=("blue", "green"))
    info = inspect(path)
    assert (info.grid.shape, info.grid.crs, info.dtype, info.nodata) == ((5, 7), "EPSG:32633", "uint16", 9)
    assert (info.n_band, info.descriptions, info.driver) == (2, ("blue", "green"), "GTiff")
    assert info.is_georeferenced
    assert not info.has_mask


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"must exist, got .*nowhere\.tif; check the path"):
        inspect(tmp_path / "nowhere.tif")


def test_folder_is_no_raster(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"must be a file, got the folder .*; pass one file"):
        inspect(tmp_path)


def test_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.tif"
    path.touch()
    with pytest.raises(ProductError, match=r"must have content, got the empty file .*empty\.tif; copy or download"):
        inspect(path)


def test_text_is_no_raster(tmp_path: Path) -> None:
    path = tmp_path / "notes.tif"
    path.write_text("these are notes")
    with pytest.raises(ProductError, match=r"GeoTIFF, JPEG 2000 or NITF, got a file that begins with b'these ar'"):
        inspect(path)


def test_vrt_text_in_a_tif_is_refused(raster: WriteRaster, tmp_path: Path) -> None:
    target = raster("target.tif", count_up(1, 4, 4))
    path = tmp_path / "bad_vrt.TIF"
    path.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><GeoTransform>5,1,0,5,0,-1</GeoTransform>'
        '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(path) as opened:  # the trap is real: GDAL reads the other file
        assert opened.driver == "VRT"
    with pytest.raises(ProductError, match=r"got VRT text, which names other files, in .*bad_vrt\.TIF"):
        inspect(path)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.02])
@pytest.mark.parametrize("profile", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"}])
def test_truncated_tiff_is_refused(raster: WriteRaster, share: float, profile: dict[str, Any]) -> None:
    path = raster("whole.tif", count_up(2, 256, 256), **profile)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ProductError, match=r"truncated|must be readable"):
        inspect(path)


def test_truncated_tiff_tells_bytes(raster: WriteRaster) -> None:
    path = raster("whole.tif", count_up(1, 256, 256))
    content = path.read_bytes()
    path.write_bytes(content[:70_000])
    with pytest.raises(ProductError, match=r"got 70000 of at least 131\d\d\d bytes in .*whole\.tif; it is truncated"):
        inspect(path)


def test_damaged_header_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tif"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 900_000) + bytes(100))
    with pytest.raises(ProductError, match=r"must be readable, got .*damaged\.tif"):
        inspect(path)


def test_complex_values_are_refused(raster: WriteRaster) -> None:
    path = raster("complex.tif", np.ones((1, 4, 4), np.complex64))
    with pytest.raises(ProductError, match="one integer or float data type, got complex64"):
        inspect(path)


def test_sparse_tiff_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"driver": "GTiff", "width": 512, "height": 512, "count": 1, "dtype": "uint16", "tiled": True}
    with rasterio.open(
        path, "w", **profile, crs="EPSG:32633", transform=rasterio.Affine(1, 0, 5, 0, -1, 5), SPARSE_OK=True
    ):
        pass
    assert inspect(path).grid.shape == (512, 512)


@pytest.mark.parametrize("path", ["/vsizip/a.zip/b.tif", "s3://bucket/a.tif", "https://host/a.tif"])
def test_virtual_paths_are_remote(path: str) -> None:
    assert is_remote(path)


def test_virtual_path_is_read(raster: WriteRaster, tmp_path: Path) -> None:
    import zipfile

    path = raster("a.tif", count_up(1, 4, 4))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    name = f"/vsizip/{tmp_path}/a.zip/a.tif"
    assert inspect(name).grid.shape == (4, 4)
    values, _ = RasterReader([BandRef(name, 1)], (4, 4)).read(0, 4, 0, 4)
    assert values[0, 0, 0] == 1


@given(
    start=st.tuples(st.integers(-9, 12), st.integers(-9, 12)), size=st.tuples(st.integers(1, 20), st.integers(1, 20))
)
def test_blocks_outside_are_zero_and_invalid(
    tmp_path_factory: pytest.TempPathFactory, start: tuple[int, int], size: tuple[int, int]
) -> None:
    array = count_up(2, 6, 8)
    path = tmp_path_factory.getbasetemp() / "boundless.tif"
    if not path.exists():
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=8,
            height=6,
            count=2,
            dtype="uint16",
            transform=rasterio.Affine(1, 0, 1, 0, -1, 1),
        ) as target:
            target.write(array)
    reader = RasterReader([BandRef(str(path), 1), BandRef(str(path), 2)], (6, 8))
    with reader:
        values, valid = reader.read(start[0], start[0] + size[0], start[1], start[1] + size[1])
    padded = np.pad(array, ((0, 0), (40, 40), (40, 40)))[
        :, start[0] + 40 : start[0] + 40 + size[0], start[1] + 40 : start[1] + 40 + size[1]
    ]
    assert np.array_equal(values, padded)
    assert np.array_equal(valid, padded > 0)


def test_bands_of_several_files_come_in_order(raster: WriteRaster) -> None:
    first, second = raster("first.tif", count_up(2, 3, 3)), raster("second.tif", count_up(1, 3, 3) + 100)
    bands = [BandRef(str(first), 2), BandRef(str(second), 1), BandRef(str(first), 1)]
    values, _ = RasterReader(bands, (3, 3)).read(0, 3, 0, 3)
    assert values[:, 0, 0].tolist() == [10, 101, 1]


def test_step_reads_one_pixel_of_each_block(raster: WriteRaster) -> None:
    array = count_up(1, 9, 9)
    reader = RasterReader([BandRef(str(raster("a.tif", array)), 1)], (3, 4), step=(3, 2), origin=(0, 1))
    values, valid = reader.read(-1, 3, 0, 4)
    assert np.array_equal(values[:, 1:], array[:, 0::3, 1::2])
    assert valid.sum() == 12


def test_reader_survives_pickling_and_threads(raster: WriteRaster) -> None:
    array = count_up(1, 64, 64)
    reader = RasterReader([BandRef(str(raster("a.tif", array)), 1)], (64, 64))
    reader.read(0, 1, 0, 1)
    copy = pickle.loads(pickle.dumps(reader))
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda row: copy.read(row, row + 1, 0, 64)[0][0, 0], range(64)))
    assert np.array_equal(rows, array[0])
    assert len(copy._idle) <= 8
    copy.close()
    reader.close()
    assert reader._idle == []


def _first_pixel(reader: RasterReader) -> int:
    return int(reader.read(0, 1, 0, 1)[0][0, 0, 0])


def test_reader_works_in_another_process(raster: WriteRaster) -> None:
    reader = RasterReader([BandRef(str(raster("a.tif", count_up(1, 4, 4))), 1)], (4, 4))
    reader.read(0, 1, 0, 1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_first_pixel, (reader,)) == 1


def test_file_that_vanished_is_a_product_error(raster: WriteRaster) -> None:
    path = raster("a.tif", count_up(1, 4, 4))
    reader = RasterReader([BandRef(str(path), 1)], (4, 4))
    path.unlink()
    with pytest.raises(ProductError, match=r"must exist, got .*a\.tif"):
        reader.read(0, 4, 0, 4)


def test_block_that_is_damaged_is_a_product_error(raster: WriteRaster) -> None:
    path = raster("a.tif", count_up(1, 256, 256), compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(ProductError, match=r"must be readable, got .*a\.tif"):
        RasterReader([BandRef(str(path), 1)], (256, 256)).read(0, 256, 0, 256)


def test_internal_mask_counts(tmp_path: Path) -> None:
    path = tmp_path / "masked.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 3, "count": 2, "dtype": "uint8", "photometric": "MINISBLACK"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, crs="EPSG:32633", transform=rasterio.Affine(1, 0, 5, 0, -1, 5)) as target,
    ):
        target.write(np.ones((2, 3, 4), np.uint8))
        target.write_mask(np.eye(3, 4, dtype=np.uint8) * 255)
    assert inspect(path).has_mask
    _, valid = RasterReader([BandRef(str(path), 1), BandRef(str(path), 2)], (3, 4), has_mask=True).read(0, 3, 0, 4)
    assert np.array_equal(valid[0], np.eye(3, 4, dtype=bool))
    assert np.array_equal(valid[1], valid[0])


def test_zero_in_one_band_stays_valid() -> None:
    values = np.array([[[0, 0, 5]], [[0, 7, 5]]], np.uint16)
    assert find_valid(values, 0)[:, 0].tolist() == [[False, True, True], [False, True, True]]


@pytest.mark.parametrize("nodata", [-32768, -9999])
def test_negative_nodata_in_one_band_is_invalid(nodata: float | None) -> None:
    values = np.array([[[nodata, 3]], [[7, 3]]], np.int16)
    assert find_valid(values, nodata)[:, 0].tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize(
    ("dtype", "nodata", "value"),
    [
        ("uint16", 256, 256),
        ("float32", -3.4028234663852886e38, np.finfo("float32").min),
        ("float64", -1.7e308, -1.7e308),
        ("float32", -3.4e38, np.float32(-3.4e38)),
    ],
)
def test_odd_nodata_is_compared_in_the_source_type(dtype: str, nodata: float | None, value: float) -> None:
    values = np.array([[[value, 1]]], dtype)
    assert find_valid(values, nodata)[0, 0].tolist() == [False, True]


@pytest.mark.parametrize("nodata", [-9999, 70000, 0.5])
def test_nodata_that_the_type_cannot_hold_marks_nothing(nodata: float | None) -> None:
    assert find_valid(np.array([[[0, 1, 65535]]], np.uint16), nodata).all()


@pytest.mark.parametrize("nodata", [None, np.nan, 0.0])
def test_nan_and_infinity_are_never_valid(nodata: float | None) -> None:
    values = np.array([[[np.nan, np.inf, -np.inf, 2]]], np.float32)
    assert find_valid(values, nodata)[0, 0].tolist() == [False, False, False, True]


def test_unreferenced_raster_opens_without_a_warning(raster: WriteRaster) -> None:
    path = raster("plain.tif", count_up(1, 4, 4), transform=rasterio.Affine.identity(), crs=None)
    assert not inspect(path).is_georeferenced
