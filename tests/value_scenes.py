"""Scenes made of values alone, for tests of what is said about a scene; no file is opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from affine import Affine

from ship_geo.grids import Grid
from ship_geo.products.layers import Layer
from ship_geo.products.product import Acquisition
from ship_geo.raster import BandRef
from ship_geo.rpc import Rpc
from ship_geo.scene import Scene
from ship_geo.sensors import Sensor, find_sensor

TAKEN = Acquisition(
    platform="WV02",
    product_id="054001",
    level="LV2A",
    time="2023-07-05T10:20:30.123456Z",
    cloud=0.125,
    sun_azimuth=150.5,
    sun_elevation=60.25,
    view_azimuth=-10.0,
    off_nadir=12.5,
    bits=11,
)


def value_scene(
    folder: Path, *, crs: str | None = "EPSG:32633", corner: tuple[float, float] = (500000, 4640000), **changes: Any
) -> Scene:
    """A WorldView-2 scene of four bands: PAN 40 x 48 at 0.5 m, MS 10 x 12 at 2 m, nested."""
    roles = ("blue", "green", "red", "nir")

    def grid(n_row: int, n_col: int, size: float) -> Grid:
        pixels = Affine(size * 2, 0, 0, 0, size * 2, 0)  # of PAN
        ground = Affine(size, 0, corner[0], 0, -size, corner[1])
        return Grid((n_row, n_col), pixels if crs is None else ground, crs)

    ms = Layer(
        files=tuple(BandRef(str(folder / "in" / "a_MS.TIF"), band) for band in (1, 2, 3, 4)),
        grid=grid(10, 12, 2.0),
        dtype="uint16",
        nodata=0,
        roles=roles,
        descriptions=("", "", "", "N"),
    )
    pan = replace(
        ms,
        files=(BandRef(str(folder / "in" / "a_PAN.TIF"), 1),),
        grid=grid(40, 48, 0.5),
        roles=("pan",),
        descriptions=("",),
    )
    scene = Scene(ms=ms, pan=pan, sensor=find_sensor("worldview-2").select(roles), acquisition=TAKEN, name="a")
    return replace(scene, **changes)


def unknown_scene(folder: Path, **changes: Any) -> Scene:
    """The same without any metadata."""
    scene = value_scene(folder, **changes)
    return replace(scene, sensor=Sensor.generic(scene.ms.roles), acquisition=Acquisition())


def plain_rpc(n_row: int = 40, n_col: int = 48, lon: float = 15.0, lat: float = 41.9) -> Rpc:
    """A model that is linear: the image spans 0.002 degrees of latitude, north up, and of longitude around a point."""
    one, east, north = ([0.0] * 20 for _ in range(3))
    one[0], east[1], north[2] = 1.0, 1.0, -1.0
    return Rpc(
        line_offset=n_row / 2 - 0.5,
        sample_offset=n_col / 2 - 0.5,
        lat_offset=lat,
        long_offset=lon,
        height_offset=100.0,
        line_scale=n_row / 2,
        sample_scale=n_col / 2,
        lat_scale=0.001,
        long_scale=0.001,
        height_scale=500.0,
        line_num=tuple(north),
        line_den=tuple(one),
        sample_num=tuple(east),
        sample_den=tuple(one),
        err_bias=1.5,
        err_rand=0.5,
    )


def sensor_scene(folder: Path, **changes: Any) -> Scene:
    """The same in the geometry of PAN, with a model."""
    facts = {"geometry": "sensor", "heights": "ellipsoidal height 100 m", "rpc": plain_rpc()}
    return value_scene(folder, crs=None, **{**facts, **changes})
