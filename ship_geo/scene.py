"""A scene: one PAN / MS pair with all that is known of it, ready to be read by blocks.

`open_scene` finds the files, looks at their tags and at a small sample of their pixels, and checks that the pair can be
sharpened; it opens nothing heavy. What it decided is kept in the `Scene` and told by `Scene.describe`. The convention
that could surprise: rules of validity are per scene and fixed at opening, so that every worker reads alike; and two
rasters without CRS and georeference are taken to cover the same ground only if their sizes are an exact multiple.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from os import fspath
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.grids import Grid, GridPair
from ship_geo.products import PairFiles
from ship_geo.products.layers import Layer, open_ms, open_pan
from ship_geo.products.names import find_platform, find_time
from ship_geo.products.pairs import find_pair, has_pan_name, rasters_in, scene_name
from ship_geo.products.stacks import find_stack
from ship_geo.raster import BandRef, RasterInfo, inspect, is_remote
from ship_geo.sensors import Band, Sensor, find_sensor

__all__ = ["BandRef", "Layer", "Scene", "open_scene"]

_RATIO_TOLERANCE = 0.02
_IGNORED_TAGS = frozenset({"AREA_OR_POINT", "METADATATYPE"})


@dataclass(frozen=True)
class Scene:
    """A PAN / MS pair.

    Attributes
    ----------
    ms, pan
        The layers.
    sensor
        Sensor with exactly the MS bands of this scene, in their order.
    time
        Time of acquisition, ISO 8601; None where it is not known.
    tags
        Metadata of the files; where both have a key, that of MS.
    notes
        What was found, decided or is odd, for people.
    name
        Short name, from the files.
    """

    ms: Layer
    pan: Layer
    sensor: Sensor
    time: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    name: str = "scene"

    @cached_property
    def pair(self) -> GridPair:
        """The relation of the two grids."""
        return GridPair.from_grids(self.ms.grid, self.pan.grid)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of all files, each once, MS first."""
        return tuple(dict.fromkeys((*self.ms.paths, *self.pan.paths)))

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of names, sizes and times of the files and of how they are read.

        Equal on every machine that sees the same files; files elsewhere than on a local disk count by name only.
        """
        facts = [[path] if is_remote(path) else _fingerprint(Path(path)) for path in self.paths]
        plan = self.to_dict()
        for layer in (plan["ms"], plan["pan"]):
            layer["files"] = [[Path(path).name, band] for path, band in layer["files"]]
        text = json.dumps([facts, plan["ms"], plan["pan"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """Return what was found, as lines of text for a person."""
        pair = self.pair
        n_row, n_col = pair.output.shape
        ratio, phase = ([f"{value:.6g}" for value in values] for values in (pair.ratio, pair.phase))
        lines = [
            f"{self.name}: {self.sensor.title}, {self.time or 'time not known'}",
            f"MS   {_layer_line(self.ms)}; bands {', '.join(self.ms.roles)}",
            f"PAN  {_layer_line(self.pan)}",
            f"CRS  {_short(self.pan.grid.crs)}",
            f"pair ratio {' x '.join(ratio)}, phase ({', '.join(phase)}) PAN pixels, output {n_row} x {n_col}",
        ]
        return "\n".join([*lines, *(f"note {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Return the scene as values that JSON can hold; `from_dict` is the inverse."""
        return {
            "ms": self.ms.to_dict(),
            "pan": self.pan.to_dict(),
            "sensor": asdict(self.sensor),
            "time": self.time,
            "tags": dict(self.tags),
            "notes": list(self.notes),
            "name": self.name,
        }

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Scene:
        """Return the scene that `to_dict` wrote; no file is opened."""
        return cls(
            ms=Layer.from_dict(plan["ms"]),
            pan=Layer.from_dict(plan["pan"]),
            sensor=_sensor_from_dict(plan["sensor"]),
            time=plan["time"],
            tags=dict(plan["tags"]),
            notes=tuple(plan["notes"]),
            name=plan["name"],
        )


def open_scene(
    source: PathLike | None = None,
    *,
    ms: PathLike | Sequence[PathLike] | None = None,
    pan: PathLike | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
) -> Scene:
    """Open a PAN / MS pair.

    Parameters
    ----------
    source
        Folder that holds exactly one pair, either file of a pair whose partner lies beside it, or one stacked file
        whose PAN band is described as such.
    ms, pan
        The pair instead of `source`; `ms` may be several files in band order. Given alone, the other one is searched.
    sensor
        Sensor or its name; by default from file names and metadata, else a generic one.
    bands
        Roles of the MS bands in file order, where the files do not tell or are wrong.

    Returns
    -------
    Scene
        Checked, nothing read but samples.

    Raises
    ------
    ArgumentError
        When the arguments do not say one source, the sensor is unknown, or roles do not fit.
    ProductError
        When a file is missing, damaged or no raster, or the pair is ambiguous.
    GridError
        When the two grids do not fit each other.
    """
    given = find_sensor(sensor) if isinstance(sensor, str) else sensor
    files = _find_files(source, ms, pan)
    ms_infos = [inspect(path) for path in files.ms]
    pan_info = inspect(files.pan)
    _check_order(ms_infos, pan_info, files)
    tags = _merge_tags([pan_info, *ms_infos])
    names = [Path(path).name for path in (files.pan, *files.ms)]
    found = given or find_platform(names, tags)
    ms_layer, ms_notes = open_ms(ms_infos, pan_band=files.pan_band, sensor=found, bands=bands)
    pan_layer, pan_notes = open_pan(pan_info, pan_band=files.pan_band)
    ms_layer, grid_notes = _relate(ms_layer, pan_layer, ms_infos[0], pan_info)
    scene_sensor, sensor_notes = fit_sensor(found, ms_layer, is_given=given is not None)
    scene = Scene(
        ms=ms_layer,
        pan=pan_layer,
        sensor=scene_sensor,
        time=find_time(names),
        tags=tags,
        notes=(*files.notes, *ms_notes, *pan_notes, *grid_notes, *sensor_notes),
        name=scene_name(files.pan),
    )
    return _checked(scene)


def _merge_tags(infos: Sequence[RasterInfo]) -> dict[str, str]:
    return {key: value for info in infos for key, value in info.tags.items() if key not in _IGNORED_TAGS}


def _find_files(source: PathLike | None, ms: PathLike | Sequence[PathLike] | None, pan: PathLike | None) -> PairFiles:
    ms_paths = _as_paths(ms)
    if (source is None) == (ms is None and pan is None):
        given = f"source={source!r}, ms={ms!r}, pan={pan!r}"
        msg = f"a scene needs one source, got {given}; pass `source`, or `ms` and `pan`"
        raise ArgumentError(msg)
    if source is not None:
        return _search(fspath(source))
    if pan is not None and ms_paths:
        return PairFiles(ms_paths, fspath(pan))
    if pan is None and len(ms_paths) != 1:
        msg = f"the partner is searched for one MS file, got {len(ms_paths)}; pass `pan`, too"
        raise ArgumentError(msg)
    return _search(fspath(pan) if pan is not None else ms_paths[0])


def _as_paths(ms: PathLike | Sequence[PathLike] | None) -> tuple[str, ...]:
    if ms is None:
        return ()
    # A str is a sequence, too, but one path.
    return (fspath(ms),) if isinstance(ms, str) or not isinstance(ms, Sequence) else tuple(fspath(path) for path in ms)


def _search(source: str) -> PairFiles:
    if is_remote(source):
        return _require_stack(source, "no partner is searched on remote file systems")
    path = Path(source)
    if not path.exists():
        msg = f"the source must exist, got {path}; check the path"
        raise ProductError(msg)
    pair = find_pair(path)
    if pair is not None:
        return pair
    if path.is_dir():
        (path,) = rasters_in(path)
    looked = f"no {'MS' if has_pan_name(path) else 'PAN'} partner lies beside it"
    return _require_stack(str(path), looked)


def _require_stack(path: str, looked: str) -> PairFiles:
    stack = find_stack(inspect(path))
    if stack is None:
        msg = (
            f"one file must have a partner named like it (X_PAN / X_MS) or be a stack with a band described as 'pan', "
            f"got {path} ({looked}); pass both files with `pan=` and `ms=`"
        )
        raise ProductError(msg)
    return stack


def _check_order(ms_infos: Sequence[RasterInfo], pan_info: RasterInfo, files: PairFiles) -> None:
    if files.pan_band is not None:
        return
    if len(ms_infos) == 1 and ms_infos[0].n_band == 1 and pan_info.n_band > 1:
        msg = (
            f"PAN must have one band, got {pan_info.n_band} in {pan_info.path} and one band in MS {ms_infos[0].path}; "
            "they look swapped: exchange `ms` and `pan`"
        )
        raise ProductError(msg)


def _relate(ms: Layer, pan: Layer, ms_info: RasterInfo, pan_info: RasterInfo) -> tuple[Layer, tuple[str, ...]]:
    if ms.grid.crs is not None or pan.grid.crs is not None:
        return ms, ()
    if ms_info.is_georeferenced and pan_info.is_georeferenced:
        return ms, ("neither file has a CRS: their coordinates are used as they are",)
    if ms_info.is_georeferenced != pan_info.is_georeferenced:
        bare = "MS" if pan_info.is_georeferenced else "PAN"
        msg = f"PAN and MS must both be georeferenced or neither, got no georeference for {bare}; add it (gdal_edit.py)"
        raise GridError(msg)
    if ms_info.path == pan_info.path:  # the bands of a stack share their grid
        return ms, ("the file has no georeference: pixel coordinates are used",)
    # Without any georeference only sizes can tell, and they do only if one raster is an exact multiple of the other.
    ratio = pan.grid.shape[0] / ms.grid.shape[0]
    if not ratio.is_integer() or ratio * ms.grid.shape[1] != pan.grid.shape[1]:
        msg = (
            "PAN and MS without CRS and georeference must be an exact multiple of each other in size, got PAN "
            f"{pan.grid.shape} and MS {ms.grid.shape}; georeference both files"
        )
        raise GridError(msg)
    grid = Grid(ms.grid.shape, Affine(ratio, 0, 0, 0, ratio, 0))  # PAN pixels, from the upper-left corner
    how = "; their RPC are not used" if ms_info.rpc or pan_info.rpc else ""
    note = f"neither file is georeferenced: they are taken to cover the same ground at ratio {ratio:g}{how}"
    return replace(ms, grid=grid), (note,)


def fit_sensor(sensor: Sensor | None, ms: Layer, *, is_given: bool) -> tuple[Sensor, tuple[str, ...]]:
    """Return a sensor with exactly the bands of an MS layer, generic where none is known, and what was assumed.

    Raises
    ------
    ArgumentError
        When a sensor was given and the bands are not its own.
    """
    generic = Sensor.generic(ms.roles, bits=8 if np.dtype(ms.dtype).itemsize == 1 else 16)
    if sensor is None:
        return generic, ("the sensor is not known: MTF gains are defaults",)
    if set(ms.roles) <= set(sensor.roles):
        return sensor.select(ms.roles), ()
    if is_given and set(ms.roles) & set(sensor.roles):
        sensor.select(ms.roles)  # raises: some bands are known, and they are not this sensor's
    if is_given:
        msg = (
            f"the MS bands must be bands of {sensor.title} ({', '.join(sensor.roles)}), got {', '.join(ms.roles)}; "
            "name them with `bands=`"
        )
        raise ArgumentError(msg)
    return generic, (f"the names suggest {sensor.title}, whose bands do not fit: MTF gains are defaults",)


def _checked(scene: Scene) -> Scene:
    ratio, nominal = scene.pair.ratio, scene.sensor.ratio
    notes = list(scene.notes)
    is_generic = not scene.sensor.platform_ids
    if not is_generic and max(abs(value / nominal - 1) for value in ratio) > _RATIO_TOLERANCE:
        notes.append(f"the ratio {ratio[0]:.4g} is unusual for {scene.sensor.title}, whose products have {nominal:g}")
    if scene.ms.dtype != scene.pan.dtype:
        notes.append(f"MS is {scene.ms.dtype} and PAN {scene.pan.dtype}: the output is {scene.ms.dtype}")
    return replace(scene, notes=tuple(notes))


def _fingerprint(path: Path) -> list[Any]:
    try:
        facts = path.stat()
    except OSError as error:
        msg = f"the files of a scene must stay where they are, got {path} ({error.strerror}); open the scene again"
        raise ProductError(msg) from error
    return [path.name, facts.st_size, facts.st_mtime_ns]


def _layer_line(layer: Layer) -> str:
    rows, cols = layer.grid.resolution
    rule = "no nodata value" if layer.nodata is None else f"nodata {layer.nodata:g}"
    if layer.nodata is not None and layer.n_band > 1:
        rule += " where all bands have it" if layer.nodata >= 0 else " where any band has it"
    rule += ", mask of the file" if layer.mask else ""
    files = ", ".join(Path(path).name for path in layer.paths)
    shape = f"{layer.grid.shape[0]} x {layer.grid.shape[1]}"
    return f"{files}: {shape} x {layer.n_band} {layer.dtype}, pixel {rows:.6g} x {cols:.6g}, {rule}"


def _short(crs: str | None) -> str:
    return "none" if crs is None else f"{crs[:36]} ..." if len(crs) > len("EPSG:") + 35 else crs


def _sensor_from_dict(plan: Mapping[str, Any]) -> Sensor:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plan.items()}
    fields["bands"] = tuple(
        Band(**{**band, "wavelength": None if band["wavelength"] is None else tuple(band["wavelength"])})
        for band in plan["bands"]
    )
    return Sensor(**fields)
