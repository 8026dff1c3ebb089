"""Two georeferenced xarray objects as a pair: the scene they make, and their pixels as Dask arrays.

Takes what xarray, rioxarray and odc-stac give: bands as a dimension or as variables, any order of dimensions, masked or
with a nodata value, in memory, not read yet, or lazy. Nothing is read or computed here but coordinates. The convention
that could surprise: MS is turned to the direction of PAN's axes, so that either may be south-up.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
from affine import Affine

from ship_geo.array_grid import grid_of, is_upright
from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid
from ship_geo.products.layers import Layer
from ship_geo.products.names import find_role
from ship_geo.products.product import Acquisition
from ship_geo.products.roles import find_roles
from ship_geo.raster import BandRef
from ship_geo.scene import Scene, fit_sensor
from ship_geo.sensors import Sensor, find_sensor

CHUNK = 1024
"""Rows and columns of the chunks into which arrays without chunks are cut."""

_AXES: tuple[tuple[str, str], ...] = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"))


@dataclass(frozen=True, eq=False)
class Image:
    """One of the two arrays.

    Attributes
    ----------
    values
        (band, row, col).
    grid
        Where it lies.
    nodata
        Value that marks invalid pixels; NaN and infinity always do.
    texts
        Per band: what it is called or described as; may be empty.
    labels
        Names of the bands as the array has them; empty where they are numbers.
    axes
        Names of the dimensions (row, col).
    coords
        Coordinates along them as they were, by dimension, where there are any.
    time
        Scalar coordinate of that name.
    """

    values: da.Array
    grid: Grid
    nodata: float | None
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    axes: tuple[str, str]
    coords: Mapping[str, xr.DataArray]
    time: xr.DataArray | None

    @property
    def layer(self) -> Layer:
        """The image as a layer of a scene; it is named by its Dask name, so that equal names are equal pixels."""
        n_band = int(self.values.shape[0])
        path = f"/vsimem/{self.values.name}"
        return Layer(
            files=tuple(BandRef(path, band) for band in range(1, n_band + 1)),
            grid=self.grid,
            dtype=np.dtype(self.values.dtype).name,
            nodata=self.nodata,
            roles=tuple(f"band{band}" for band in range(1, n_band + 1)),
            descriptions=self.texts,
            colours=("undefined",) * n_band,
            scales=(1.0,) * n_band,
            offsets=(0.0,) * n_band,
        )

    def flipped(self, *, rows: bool, cols: bool) -> Image:
        """Return the image with its rows, its columns or both in reverse order, on the grid that this makes."""
        n_row, n_col = self.grid.shape
        a, b, c, d, e, f = self.grid.transform[:6]
        if rows:
            b, c, e, f = -b, c + b * n_row, -e, f + e * n_row
        if cols:
            a, c, d, f = -a, c + a * n_col, -d, f + d * n_col
        values = self.values[:, :: -1 if rows else 1, :: -1 if cols else 1]
        return replace(self, values=values, grid=Grid(self.grid.shape, Affine(a, b, c, d, e, f), self.grid.crs))


@dataclass(frozen=True, eq=False)
class ArrayPair:
    """A pair of arrays, ready to be sharpened.

    Attributes
    ----------
    scene
        What is known of it.
    ms, pan
        The images, with axes that run the same way.
    labels
        Names of the bands of the result; empty for the roles.
    """

    scene: Scene
    ms: Image
    pan: Image
    labels: tuple[str, ...]

    def place(self, fused: xr.DataArray) -> xr.DataArray:
        """Give a result, dims ("band", "y", "x"), the names and the very coordinates of its inputs.

        Coordinates of PAN are taken over to the last bit, as xarray aligns arrays by equality.
        """
        row0, row1, col0, col1 = self.scene.pair.overlap
        spans = {"y": slice(row0, row1), "x": slice(col0, col1)}
        own: dict[Hashable, Any] = {
            dim: ((dim,), self.pan.coords[dim].values[span], self.pan.coords[dim].attrs)
            for dim, span in spans.items()
            if dim in self.pan.coords
        }
        if not own and not is_upright(self.pan.grid.transform):
            fused = fused.drop_vars(["y", "x"])  # a rotated grid has no coordinates along its axes
        if self.labels:
            own["band"] = list(self.labels)
        if self.ms.time is not None:
            own["time"] = self.ms.time.reset_coords(drop=True)
        placed = fused.assign_coords(own)
        placed.attrs.pop("geometry", None)  # always the map; xarray takes an attribute of this name for a CF reference
        names = dict(zip(("y", "x"), self.pan.axes, strict=True))
        return placed if self.pan.axes == ("y", "x") else placed.rename(names)


def open_pair(
    ms: xr.DataArray | xr.Dataset,
    pan: xr.DataArray | xr.Dataset,
    *,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
) -> ArrayPair:
    """Look at two arrays and relate them.

    Parameters
    ----------
    ms
        Dims ("band", "y", "x") in any order, or a Dataset with one variable a band.
    pan
        The same with one band, which need not have the dimension.
    sensor
        Sensor or its name; a generic one by default.
    bands
        Roles of the MS bands; by default the names of the bands.

    Returns
    -------
    ArrayPair

    Raises
    ------
    ArgumentError
        When an array has other dimensions, several values of nodata or data types, or several bands of PAN.
    GridError
        When coordinates are not evenly spaced, or the grids do not fit each other.
    """
    ms_image, pan_image = read_image(ms, "ms"), read_image(pan, "pan")
    if pan_image.values.shape[0] != 1:
        msg = f"PAN must have one band, got {pan_image.values.shape[0]}; pass the panchromatic band alone"
        raise ArgumentError(msg)
    ms_image = _turned(ms_image, pan_image.grid)
    known = find_sensor(sensor) if isinstance(sensor, str) else sensor
    layer = ms_image.layer
    roles, notes = find_roles(layer.files, layer.descriptions, layer.colours, sensor=known, bands=bands)
    layer = replace(layer, roles=roles)
    fitted, more = fit_sensor(known, layer, is_given=sensor is not None)
    scene = Scene(
        layer,
        replace(pan_image.layer, roles=("pan",)),
        fitted,
        Acquisition(time=_time_of(ms, ms_image.time)),
        family="arrays",
        notes=(*notes, *more),
        name="arrays",
    )
    return ArrayPair(scene, ms_image, pan_image, ms_image.labels if bands is None else ())


def read_image(image: xr.DataArray | xr.Dataset, name: str) -> Image:
    """Look at one array; see `open_pair`.

    Parameters
    ----------
    image
        The array.
    name
        What messages call it.
    """
    if isinstance(image, xr.Dataset):
        return _stacked(image, name)
    if not isinstance(image, xr.DataArray):
        got = type(image).__name__
        msg = f"{name} must be an xarray.DataArray or Dataset with .rio georeference, got {got}; open it by rioxarray"
        raise ArgumentError(msg)
    axes = _axes_of(image, name)
    if axes != ("y", "x"):
        image = image.rename(dict(zip(axes, ("y", "x"), strict=True)))
    whole = (image if "band" in image.dims else image.expand_dims("band")).transpose("band", "y", "x")
    nodata = whole.rio.nodata
    labels, texts = _names_of(whole)
    return Image(
        values=_as_dask(whole, name),
        grid=grid_of(whole, name),
        nodata=None if nodata is None else float(nodata),
        texts=texts,
        labels=labels,
        axes=axes,
        coords={dim: whole.coords[dim] for dim in ("y", "x") if dim in whole.coords},
        time=whole.coords["time"] if "time" in whole.coords and not whole.coords["time"].dims else None,
    )


def _stacked(dataset: xr.Dataset, name: str) -> Image:
    """Take the variables of a Dataset as bands, in their order; what has no dimension is no band."""
    dataset = dataset.set_coords([key for key, held in dataset.data_vars.items() if not held.dims])
    images = {str(key): read_image(held, f"variable {key!r} of {name}") for key, held in dataset.data_vars.items()}
    for rule, found in (
        ("one band each", [image.values.shape[0] for image in images.values()]),
        ("one data type", [image.values.dtype.name for image in images.values()]),
        ("one nodata value", [str(image.nodata) for image in images.values()]),
    ):
        if len(set(found)) != 1 or (rule == "one band each" and found[0] != 1):
            listed = ", ".join(f"{key}: {value}" for key, value in zip(images, found, strict=True)) or "no variable"
            msg = f"the variables of {name} are bands with {rule}, got {listed}; select or convert them"
            raise ArgumentError(msg)
    first = next(iter(images.values()))
    texts = [key if find_role(key) else image.texts[0] or key for key, image in images.items()]
    values = da.concatenate([image.values for image in images.values()])
    return replace(first, values=values, texts=tuple(texts), labels=tuple(images))


def _axes_of(image: xr.DataArray, name: str) -> tuple[str, str]:
    dims = set(map(str, image.dims))
    for axes in _AXES:
        if set(axes) <= dims <= {"band", *axes}:
            return axes
    msg = f"{name} has the dims ('band', 'y', 'x'), got {image.dims}; rename or select them, as by .isel(time=0)"
    raise ArgumentError(msg)


def _as_dask(image: xr.DataArray, name: str) -> da.Array:
    if image.dtype.kind not in "uif":
        msg = f"{name} holds integers or floats, got {image.dtype}; convert it, as by .astype('float32')"
        raise ArgumentError(msg)
    # What is not read yet stays so: `.data` of it would read the whole file.
    chunked = image if image.chunks is not None else image.chunk({"y": CHUNK, "x": CHUNK})
    held: da.Array = chunked.data
    return held


def _names_of(image: xr.DataArray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels of the bands, and what is said of each."""
    n_band = image.sizes["band"]
    names: Any = image.attrs.get("long_name", ())
    texts = (names,) if isinstance(names, str) and n_band == 1 else names
    is_list = not isinstance(texts, str) and len(texts) == n_band
    described = tuple(map(str, texts)) if is_list else ("",) * n_band
    if "band" not in image.coords or image.coords["band"].dtype.kind not in "UOT":
        return (), described
    labels = tuple(map(str, image.coords["band"].values.tolist()))
    return (labels if len(set(labels)) == n_band else ()), labels


def _time_of(ms: xr.DataArray | xr.Dataset, time: xr.DataArray | None) -> str | None:
    if ms.attrs.get("time"):
        return str(ms.attrs["time"])
    if time is None:
        return None
    if time.dtype.kind == "M":
        return None if np.isnat(time.values) else f"{np.datetime_as_string(time.values, unit='s')}Z"
    return str(time.values)


def _turned(ms: Image, pan: Grid) -> Image:
    """Let the axes of MS run as those of PAN."""
    if not is_upright(ms.grid.transform) or not is_upright(pan.transform):
        return ms
    rows, cols = (ms.grid.transform[place] * pan.transform[place] < 0 for place in (4, 0))
    return ms.flipped(rows=rows, cols=cols) if rows or cols else ms
