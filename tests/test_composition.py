"""Lazy results among those of other libraries: only what is asked for is computed, wherever the inputs come from."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from dask.core import flatten
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.xr import xr_reproject
from shapely.geometry import Point

from ship_geo import arrays, coarser, inference, sampling
from ship_geo.api import pansharpen, pansharpen_scene
from ship_geo.array_pair import open_pair
from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.sampling import MAX_PLACES

Lazy = Callable[[xr.DataArray], xr.DataArray]

ROLES = ["blue", "green", "red", "nir"]
PAN_SIZE, MS_SIZE, CHUNK = 480, 120, 48


def place(values: Any, step: float, corner: tuple[float, float] = (500000.0, 4640000.0)) -> xr.DataArray:
    """Put an array (band, row, col) on the map, by coordinates alone, as odc-stac does."""
    _, n_row, n_col = values.shape
    coords = {"y": corner[1] - step * (np.arange(n_row) + 0.5), "x": corner[0] + step * (np.arange(n_col) + 0.5)}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords).rio.write_crs("EPSG:32633")


@pytest.fixture(scope="module")
def ms(ground: Any) -> xr.DataArray:
    means = ground(4, (PAN_SIZE, PAN_SIZE), 0).reshape(4, MS_SIZE, 4, MS_SIZE, 4).mean(axis=(2, 4))
    return place(means.astype("float32"), 2.0).assign_coords(band=ROLES)


@pytest.fixture(scope="module")
def pan(ground: Any) -> xr.DataArray:
    return place(ground(4, (PAN_SIZE, PAN_SIZE), 0).mean(axis=0, keepdims=True).astype("float32"), 0.5)


@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of the first 48 x 48 pixels alone, as those of a large scene touch little of it."""
    monkeypatch.setattr(sampling, "CELL", CHUNK)
    for name in ("statistics_windows", "observed_windows"):
        monkeypatch.setattr(arrays, name, lambda plan: plan.windows()[:1])
    monkeypatch.setattr(coarser, "places", lambda *_: [])
    monkeypatch.setattr(arrays, "SIDE", CHUNK // 4)
    monkeypatch.setattr(arrays, "MAX_BLOCKS", 1)


@contextmanager
def no_computing() -> Iterator[None]:
    """Make it an error to compute anything."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        msg = "something was computed"
        raise AssertionError(msg)

    with dask.config.set(scheduler=refuse):
        yield


def counting(image: xr.DataArray, seen: list[tuple[int, ...]], size: int = CHUNK) -> xr.DataArray:
    """Make an array lazy that notes which of its chunks are computed."""

    def note(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        seen.append(block_info[0]["chunk-location"][1:])
        return block

    chunked = image.chunk({"y": size, "x": size})
    return chunked.copy(data=da.map_blocks(note, chunked.data, dtype=image.dtype, meta=chunked.data._meta))


# Only what is asked for ---------------------------------------------------------------------------------------------

# All of these look at output rows and columns 192 to 239, which are one chunk, or at parts of it.
ROW, COL = 4640000 - 0.5 * 192, 500000 + 0.5 * 192
PARTS: dict[str, Lazy] = {
    "isel": lambda fused: fused.isel(y=slice(200, 210), x=slice(230, 240)),
    "sel": lambda fused: fused.sel(y=slice(ROW - 1, ROW - 9), x=slice(COL + 1, COL + 9), band=["red", "nir"]),
    "clip_box": lambda fused: fused.rio.clip_box(COL + 2, ROW - 20, COL + 20, ROW - 2),
    "coarsen": lambda fused: fused.coarsen(y=4, x=4).mean()[:, 50:55, 50:55],
    "arithmetic": lambda fused: ((fused.sel(band="nir") - fused.sel(band="red")) / fused.sum("band"))[192:240, 192:240],
    "resample": lambda fused: fused.interp(x=[COL + 10.1], y=[ROW - 10.2]),
    "reproject": lambda fused: xr_reproject(fused[:, 192:240, 192:240], "EPSG:3857", resolution=0.8),
}


@pytest.mark.usefixtures("few_samples")
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_part_of_a_result_computes_the_blocks_under_it(
    ms: xr.DataArray, pan: xr.DataArray, tiny_checkpoint: Path, part: Lazy
) -> None:
    seen: list[tuple[int, ...]] = []
    with no_computing():
        options: Any = {"model": tiny_checkpoint, "precision": "float32", "chunks": CHUNK}
        made = part(pansharpen(ms.chunk({"y": 17, "x": 17}), counting(pan, seen), **options))
    assert seen == []
    got = made.compute(scheduler="synchronous")
    # Windows of 64 lie every 48 pixels: two cover the chunk along each axis, 112 pixels, with 32 around them: 4 x 4
    # chunks of PAN. The window of statistics, with the halo of its block one scale coarser, lies in 3 x 3.
    assert len(seen) == len(set(seen)) <= 16 + 9
    xr.testing.assert_equal(got, part(pansharpen(ms, pan, **options).compute(scheduler="synchronous")))


@pytest.mark.usefixtures("few_samples")
def test_clip_by_a_polygon_computes_the_blocks_under_its_bounds(
    ms: xr.DataArray, pan: xr.DataArray, tiny_checkpoint: Path
) -> None:
    seen: list[tuple[int, ...]] = []
    area = [Point(COL + 12, ROW - 12).buffer(11)]
    with no_computing():
        fused = pansharpen(ms, counting(pan, seen), model=tiny_checkpoint, precision="float32", chunks=CHUNK)
        clipped = fused.rio.clip(area)
    assert clipped.compute(scheduler="synchronous").notnull().sum() == pytest.approx(4 * np.pi * 22**2, rel=0.02)
    assert len(seen) <= 16 + 9


def test_window_of_a_large_scene_needs_the_samples_and_its_own_chunks() -> None:
    n, size = 16384, 256
    ms, pan = (
        place(da.zeros((b, k, k), "uint16", chunks=(b, size, size)), s) for b, k, s in ((4, n // 4, 2.0), (1, n, 0.5))
    )
    part = pansharpen(ms, pan, model="mtf-glp-fs", chunks=512)[:, 5120:5632, 7168:7680]
    culled = part.data.dask.cull(set(flatten(part.__dask_keys__())))
    needed = [sum(key[0] == image.data.name for key in culled) for image in (pan, ms)]
    # Two windows of the statistics, a chunk of PAN each, in one chunk of MS; under the block 4 x 4 and 1 with margins.
    assert needed[0] == 2 * MAX_PLACES + 16
    assert MAX_PLACES < needed[1] <= MAX_PLACES + 4


def test_graph_of_a_very_large_scene_is_built_at_once_and_stays_small() -> None:
    n = 45056
    ms, pan = (
        place(da.zeros((b, k, k), "uint16", chunks=(1, 2048, 2048)), s) for b, k, s in ((4, n // 4, 2.0), (1, n, 0.5))
    )
    seconds = []
    for _ in range(3):  # the least, as other processes slow this one down
        start = time.process_time()
        with no_computing():
            fused = pansharpen(ms, pan, model="mtf-glp-fs")
        seconds.append(time.process_time() - start)
    assert min(seconds) <= 2
    layer = fused.data.dask.layers[fused.data.name]
    tasks = [layer[key] for key in layer if not isinstance(key, tuple)]  # job and statistics
    assert max(len(pickle.dumps(task)) for task in [*tasks, layer[fused.data.name, 0, 9, 9]]) < 2**20


def test_arrays_that_are_not_read_yet_stay_so(write_pair: Any, tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    ms, pan = rioxarray.open_rasterio(pair.ms), rioxarray.open_rasterio(pair.pan)
    fused = pansharpen(ms, pan, model="exp")
    assert not ms.variable._in_memory
    assert not pan.variable._in_memory
    np.testing.assert_array_equal(fused, pansharpen_scene(pair.pan, model="exp"))


# Where inputs come from ---------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(data=st.data())
def test_chunks_of_any_kind_give_the_same_bytes(ms: xr.DataArray, pan: xr.DataArray, data: st.DataObject) -> None:
    few = {"y": slice(0, 30), "x": slice(0, 30)}
    ms, pan = ms.isel(few), pan.isel(y=slice(0, 120), x=slice(0, 120))

    def cuts(size: int) -> tuple[int, ...]:
        inner = sorted(data.draw(st.sets(st.integers(1, size - 1), max_size=6)))
        return tuple(int(part) for part in np.diff([0, *inner, size]))

    cut_ms = ms.chunk({"band": data.draw(st.sampled_from([1, 3, 4])), "y": cuts(30), "x": cuts(30)})
    made = pansharpen(cut_ms, pan.chunk({"y": cuts(120), "x": cuts(120)}), model="gsa", chunks=50)
    whole = pansharpen(ms, pan, model="gsa", chunks=None)
    xr.testing.assert_identical(made.compute(scheduler="synchronous"), whole.compute(scheduler="synchronous"))


def test_chunks_of_one_pixel_give_the_same_bytes(ms: xr.DataArray, pan: xr.DataArray) -> None:
    ms, pan = ms[:, :5, :4], pan[:, :20, :16]
    made = pansharpen(ms.chunk(1), pan.chunk(1), model="exp", chunks=7)
    np.testing.assert_array_equal(made, pansharpen(ms, pan, model="exp"))


def flip(image: xr.DataArray, *dims: str) -> xr.DataArray:
    return image.isel({dim: slice(None, None, -1) for dim in dims})


@pytest.mark.parametrize("dims", [("y",), ("x",), ("y", "x")])
def test_ms_is_turned_to_the_direction_of_pan(ms: xr.DataArray, pan: xr.DataArray, dims: tuple[str, ...]) -> None:
    ms, pan = ms[:, :30, 2:30], pan[:, 6:120, :117]
    expected = pansharpen(ms, pan, model="gsa").compute()
    xr.testing.assert_identical(pansharpen(flip(ms, *dims), pan, model="gsa").compute(), expected)
    # PAN tells the direction of the result, which differs by the place of the windows only.
    turned = pansharpen(ms.chunk({"y": 7}), flip(pan, *dims), model="gsa").compute()
    xr.testing.assert_identical(turned, pansharpen(flip(ms, *dims), flip(pan, *dims), model="gsa").compute())
    xr.testing.assert_allclose(flip(turned, *dims), expected, atol=0.5)
    assert (turned.y[0] < turned.y[-1]) == ("y" in dims)
    assert turned.rio.transform() == pytest.approx(turned.rio.transform(recalc=True))


@pytest.fixture(scope="module")
def opened(write_pair: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.DataArray, xr.DataArray]:
    """Arrays of files, which state their transforms; steps of 0.3 m are no binary fractions."""
    made = write_pair(tmp_path_factory.mktemp("stated"), (160, 160))
    steps = (1.2, 0.3)
    arrays_ = []
    for path, step in zip((made.ms, made.pan), steps, strict=True):
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = Affine(step, 0, 500000.1, 0, -step, 4640000.7)
        arrays_.append(rioxarray.open_rasterio(path))
    return arrays_[0], arrays_[1]


def test_slices_keep_the_exact_steps_of_their_files(opened: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = opened
    pair = open_pair(ms[:, 3:, 5:20], pan[:, 7:, 11:]).scene.pair
    whole = open_pair(ms, pan).scene.pair
    assert (pair.ms, pair.pan) == (whole.ms.crop(3, 40, 5, 20), whole.pan.crop(7, 160, 11, 160))
    assert whole.ratio == (4.0, 4.0)


@pytest.mark.parametrize("keeps_transform", [True, False])
def test_flipped_thinned_and_coarsened_arrays_lie_where_their_coordinates_say(
    opened: tuple[xr.DataArray, xr.DataArray], keeps_transform: bool
) -> None:
    ms, pan = opened
    if not keeps_transform:
        ms, pan = (image.drop_vars("spatial_ref").rio.write_crs("EPSG:32633") for image in (ms, pan))
    thin = open_pair(ms[:, :, :], pan.isel(y=slice(0, None, 2), x=slice(0, None, 2))).scene.pair
    assert thin.pan.transform == pytest.approx((0.6, 0, 500000.1 - 0.15, 0, -0.6, 4640000.7 + 0.15, 0, 0, 1))
    coarse = open_pair(ms, pan.coarsen(y=2, x=2).mean()).scene.pair
    assert coarse.pan.transform == pytest.approx((0.6, 0, 500000.1, 0, -0.6, 4640000.7, 0, 0, 1))
    assert coarse.ratio == pytest.approx((2, 2), abs=1e-9)
    turned = open_pair(flip(ms, "y"), flip(pan, "y"))
    assert turned.ms.grid.transform == pytest.approx((1.2, 0, 500000.1, 0, 1.2, 4640000.7 - 48, 0, 0, 1))
    assert turned.scene.pair.phase == pytest.approx((0, 0), abs=1e-6)


def test_variables_of_a_dataset_are_bands(ms: xr.DataArray, pan: xr.DataArray) -> None:
    renamed = ms.assign_coords(band=["blue", "green", "red", "nir08"])
    dataset = renamed.to_dataset("band").chunk({"y": 50})
    fused = pansharpen(dataset, pan.to_dataset(name="pan").isel(band=0, drop=True), model="gsa")
    assert fused.band.to_numpy().tolist() == list(dataset) == list(fused.to_dataset("band"))
    np.testing.assert_array_equal(fused, pansharpen(ms, pan, model="gsa"))
    by_name = pansharpen(dataset, pan, model="gsa", bands=ROLES)
    assert by_name.band.to_numpy().tolist() == ROLES


def test_bands_of_a_file_as_variables_are_bands(write_pair: Any, tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    ms = rioxarray.open_rasterio(pair.ms, band_as_variable=True, masked=True, chunks=40)
    fused = pansharpen(ms, rioxarray.open_rasterio(pair.pan, masked=True), model="exp")
    assert fused.band.to_numpy().tolist() == ["band_1", "band_2", "band_3", "band_4"]
    assert open_pair(ms, rioxarray.open_rasterio(pair.pan)).scene.ms.roles == tuple(ROLES)
    np.testing.assert_allclose(fused, pansharpen_scene(pair.pan, model="exp"), atol=0.5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda bands: bands.assign(red=bands.red.astype("int16")), r"one data type, got blue: float32, .*red: int16"),
        (lambda bands: bands.assign(red=bands.red.rio.write_nodata(-1)), r"one nodata value, got .*red: -1.0"),
        (lambda bands: bands.assign(red=bands.red.expand_dims(band=2)), r"one band each, got .*red: 2"),
        (lambda bands: bands.assign(mean=bands.red.mean("x")), r"variable 'mean' of ms has the dims .* got \('y',\)"),
        (lambda bands: bands.drop_vars(ROLES), r"got no variable; select"),
        (lambda bands: bands.assign(red=bands.red > 0), r"variable 'red' of ms holds integers or floats, got bool"),
    ],
)
def test_datasets_that_are_no_bands_are_refused(ms: xr.DataArray, pan: xr.DataArray, change: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        pansharpen(change(ms.to_dataset("band")), pan, model="exp")


def test_time_is_selected_and_told(ms: xr.DataArray, pan: xr.DataArray) -> None:
    times = np.array(["2024-05-01T10:00:01", "2024-06-01T10:00:02"], "datetime64[ns]")
    stack, pans = (image[:, :40, :40].expand_dims(time=times) for image in (ms, pan))
    with pytest.raises(ArgumentError, match=r"got \('time', 'band', 'y', 'x'\); .* as by \.isel\(time=0\)"):
        pansharpen(stack, pans, model="exp")
    fused = [pansharpen(stack.isel(time=i), pans.isel(time=i), model="exp") for i in range(2)]
    assert fused[1].attrs["time"] == "2024-06-01T10:00:02Z"
    joined = xr.concat(fused, "time", combine_attrs="drop_conflicts")
    assert joined.time.to_numpy().tolist() == times.tolist()
    assert joined.chunks is not None


def test_geographic_axes_keep_their_names(ms: xr.DataArray, pan: xr.DataArray) -> None:
    names = {"y": "latitude", "x": "longitude"}
    expected = pansharpen(ms, pan, model="exp")
    fused = pansharpen(ms.rename(names), pan.rename(names), model="exp")
    assert fused.dims == ("band", "latitude", "longitude")
    np.testing.assert_array_equal(fused, expected)
    assert fused.rio.transform() == expected.rio.transform()


def test_result_has_the_very_coordinates_of_pan(opened: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = opened
    fused = pansharpen(ms[:, :, 1:], pan.isel(band=0, drop=True), model="exp")
    detail = fused - pan.isel(band=0, drop=True)  # xarray keeps what is equal to the last bit
    assert detail.shape == fused.shape == (4, 160, 156)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda pan: pan.isel(y=[0, 1, 2, 5, 6]),
            r"y of pan must be evenly spaced, got steps from -1.5 to -0.5; resample",
        ),
        (
            lambda pan: pan.assign_coords(y=pan.y.astype("float32")),
            r"y of pan must be evenly .* coordinates as float64",
        ),
        (lambda pan: pan.isel(x=[3]), r"x of pan needs two pixels or a transform to tell their size, got one"),
    ],
)
def test_coordinates_that_do_not_tell_a_grid_are_refused(
    ms: xr.DataArray, pan: xr.DataArray, change: Any, text: str
) -> None:
    with pytest.raises(GridError, match=text):
        pansharpen(ms, change(pan), model="exp")


def test_single_row_lies_where_the_transform_says(opened: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = opened
    assert open_pair(ms, pan[:, 8:9]).scene.pair.overlap == (0, 1, 0, 160)


def test_rotated_grids_have_no_coordinates(write_pair: Any, tmp_path: Path) -> None:
    made = write_pair(tmp_path)
    arrays_ = []
    for path, step in ((made.ms, 2.0), (made.pan, 0.5)):
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = Affine.translation(5e5, 4.64e6) @ Affine.rotation(30) @ Affine.scale(step, -step)
        arrays_.append(rioxarray.open_rasterio(path))
    fused = pansharpen(*arrays_, model="exp")
    assert not {"x", "y"} & set(fused.coords)
    assert fused.rio.transform() == arrays_[1].rio.transform()
    np.testing.assert_array_equal(fused, pansharpen_scene(made.pan, model="exp"))


# What is done with results ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lazy(ms: xr.DataArray, pan: xr.DataArray) -> xr.DataArray:
    return pansharpen(ms[:, :40, :45].chunk({"y": 9}), pan[:, :160, :180].chunk({"x": 55}), model="gsa", chunks=70)


@pytest.fixture(scope="module")
def computed(lazy: xr.DataArray) -> xr.DataArray:
    return lazy.compute(scheduler="synchronous")


@pytest.mark.parametrize(
    "change",
    [
        lambda fused: dask.optimize(fused)[0],
        lambda fused: fused.persist(),
        lambda fused: pickle.loads(pickle.dumps(fused)),
        lambda fused: cloudpickle.loads(cloudpickle.dumps(fused)),
        lambda fused: fused.copy(deep=True),
        lambda fused: fused.chunk({"band": 1, "y": 33}),
        lambda fused: dask.compute({"fused": fused}, scheduler="threads")[0]["fused"],
    ],
    ids=["optimize", "persist", "pickle", "cloudpickle", "copy", "chunk", "compute"],
)
def test_result_survives(lazy: xr.DataArray, computed: xr.DataArray, change: Any) -> None:
    xr.testing.assert_identical(change(lazy).compute(scheduler="synchronous"), computed)


def test_keys_are_those_of_inputs_and_model(ms: xr.DataArray, pan: xr.DataArray) -> None:
    ms, pan = ms[:, :40, :40], pan[:, :160, :160]
    names = [pansharpen(ms, pan, model=model, chunks=80).data.name for model in ("exp", "exp", "gsa")]
    names += [
        pansharpen(ms, pan, model="exp", chunks=90).data.name,
        pansharpen(ms + 1, pan, model="exp", chunks=80).data.name,
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_raster_is_written_block_by_block(lazy: xr.DataArray, computed: xr.DataArray, tmp_path: Path) -> None:
    lazy.rio.to_raster(tmp_path / "fused.tif", tiled=True, lock=threading.Lock())
    written = rioxarray.open_rasterio(tmp_path / "fused.tif")
    np.testing.assert_array_equal(written, computed)
    assert written.rio.transform() == computed.rio.transform()
    assert written.attrs["long_name"] == tuple(ROLES)


@pytest.mark.filterwarnings("ignore:The data type .FixedLengthUTF32")  # zarr, of names of bands
@pytest.mark.parametrize("nodata", [None, -999])
def test_zarr_holds_pixels_crs_and_bands(
    ms: xr.DataArray, pan: xr.DataArray, tmp_path: Path, nodata: float | None
) -> None:
    pytest.importorskip("zarr")
    pair = [image[:, :40, :40].astype("int16") for image in (ms, pan)]
    if nodata is not None:
        pair = [image.rio.write_nodata(nodata) for image in pair]
    fused = pansharpen(*pair, model="exp", chunks=16)
    fused.to_zarr(tmp_path / "fused.zarr", consolidated=False)
    found = xr.open_zarr(tmp_path / "fused.zarr", consolidated=False, decode_coords="all").pansharpened
    np.testing.assert_array_equal(found, fused)
    assert (found.rio.crs, found.rio.transform()) == (fused.rio.crs, fused.rio.transform())
    assert found.band.to_numpy().tolist() == ROLES
    assert found.data.chunksize == fused.data.chunksize


# Statistics of scenes that are masked almost everywhere --------------------------------------------------------------


def test_all_windows_are_measured_where_no_sample_is_valid(
    write_pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = write_pair(tmp_path / "plain", (300, 280), dtype="int16")
    pan = pair.pan_values.copy()
    pan[:, :258] = -999  # the first of four windows, and the halo of the others
    pair = write_pair(tmp_path, ms=pair.ms_values, pan=pan, dtype="int16", nodata=-999)
    for module in (inference, arrays):
        monkeypatch.setattr(module, "statistics_windows", lambda plan: plan.windows()[:1])
    ms, pan = rioxarray.open_rasterio(pair.ms), rioxarray.open_rasterio(pair.pan, chunks={"y": 70})
    fused = pansharpen(ms, pan, model="gsa")
    expected = pansharpen_scene(pair.pan, model="gsa").compute()
    for scheduler in ("synchronous", "threads"):
        np.testing.assert_array_equal(fused.compute(scheduler=scheduler), expected)
    assert (expected != -999).any()
    nothing = pansharpen(ms, xr.full_like(pan, -999), model="gsa")
    with pytest.raises(ProductError, match="valid in PAN and in all MS bands, got none among"):
        nothing.compute(scheduler="threads")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One process with one thread, on which a task that waited for another would wait forever."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as made,
    ):
        yield made


def test_cluster_computes_the_same_bytes(
    lazy: xr.DataArray, computed: xr.DataArray, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client.as_current():
        part = lazy.persist()[:, 30:90, 40:]
        np.testing.assert_array_equal(part.compute(), computed[:, 30:90, 40:])
    monkeypatch.setattr(arrays, "statistics_windows", lambda plan: plan.windows()[:1])
    sizes = (4, 80, 80), (1, 320, 320)
    ms, pan = (
        place(da.ones(size, "float32", chunks=(1, 50, 50)), step) for size, step in zip(sizes, (2.0, 0.5), strict=True)
    )
    rows = pan.y < float(pan.y[300])
    fused = pansharpen(ms, pan.where(rows.chunk()), model="exp")
    with client.as_current():
        values = client.compute(fused.data).result(timeout=60)
    np.testing.assert_array_equal(values[:, :301], np.nan)
    np.testing.assert_allclose(values[:, 301:], 1)
