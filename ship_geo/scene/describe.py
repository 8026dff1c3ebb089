"""What a scene is, in words: text for a terminal, a table for a notebook, a record for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ship_geo.grids import Grid
from ship_geo.raster import public_name

if TYPE_CHECKING:
    from ship_geo.products.layers import Layer
    from ship_geo.register import Shift
    from ship_geo.scene.value import Scene  # for type checkers only: the value calls these functions

_LONGEST_CRS = len("EPSG:") + 35
_ANGLE_UNITS = ("degree", "grad", "radian", "unknown")
_GEOMETRY = {
    "map": "map-projected",
    "sensor": "sensor geometry, MS laid on PAN through the RPC models",
    "ortho": "brought onto a map through the RPC models",
    "pixel": "no georeference",
}


def as_text(scene: Scene) -> str:
    """Return lines of text for a person."""
    lines = [f"{key:<9} {value}" for key, value in _rows(scene).items()]
    lines += [f"note      {note}" for note in scene.notes]
    return "\n".join([*lines, *(f"warning   {text}" for text in scene.warnings)])


def as_html(scene: Scene) -> str:
    """Return a table for a notebook; everything that comes from files is escaped."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(key)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for key, value in _rows(scene).items()
    )
    remarks = [*(("note", text) for text in scene.notes), *(("warning", text) for text in scene.warnings)]
    listed = "".join(f"<li><b>{kind}</b>: {escape(text)}</li>" for kind, text in remarks)
    return f'<div class="ship-geo-scene"><table>{rows}</table><ul>{listed}</ul></div>'


def as_record(scene: Scene) -> dict[str, Any]:
    """Return values for JSON: lengths in units of the CRS, `gsd` in m, angles in degrees, wavelengths in nm."""
    pair, known = scene.pair, scene.acquisition
    calibration = scene.calibration
    return {
        "name": scene.name,
        "family": scene.family,
        "sensor": scene.sensor.title,
        "platform": known.platform,
        "product_id": known.product_id,
        "level": known.level,
        "time": known.time,
        "cloud": known.cloud,
        "sun_azimuth": known.sun_azimuth,
        "sun_elevation": known.sun_elevation,
        "view_azimuth": known.view_azimuth,
        "off_nadir": known.off_nadir,
        "geometry": scene.geometry,
        "heights": scene.heights or None,
        "crs": pair.output.crs,
        "rpc": scene.rpc is not None,
        "bits": scene.sensor.bits,
        "bands": [_band(scene, place) for place in range(scene.ms.n_band)],
        "ms": _layer(scene.ms, scene.sensor.gsd_ms),
        "pan": _layer(scene.pan, scene.sensor.gsd_pan),
        "ratio": list(pair.ratio),
        "phase": list(pair.phase),
        "overlap": list(pair.overlap),
        "output": _grid(pair.output),
        "shift": None if scene.shift is None else asdict(scene.shift),
        "calibration": None if calibration is None else calibration.to_dict(),
        "uncalibrated": scene.uncalibrated or None,
        "notes": list(scene.notes),
        "warnings": list(scene.warnings),
    }


def _rows(scene: Scene) -> dict[str, str]:
    pair, known = scene.pair, scene.acquisition
    n_row, n_col = pair.output.shape
    ratio, phase = ([f"{value:.6g}" for value in values] for values in (pair.ratio, pair.phase))
    heights = f" ({scene.heights})" if scene.heights else ""
    rows = {
        "scene": f"{scene.name}: {scene.sensor.title}, {known.time or 'time not known'}",
        "product": ", ".join(text for text in (scene.family, known.product_id, known.level) if text),
        "MS": f"{_layer_line(scene.ms)}; bands {', '.join(scene.ms.roles)}",
        "PAN": _layer_line(scene.pan),
        "geometry": f"{_GEOMETRY[scene.geometry]}{heights}{', RPC kept' if scene.rpc is not None else ''}",
        "CRS": _short(pair.output.crs),
        "pair": f"ratio {' x '.join(ratio)}, phase ({', '.join(phase)}) PAN pixels, output {n_row} x {n_col}",
        "values": f"{scene.sensor.bits} bits; {_calibration_line(scene)}",
    }
    more = {"angles": _angles(scene), "shift": "" if scene.shift is None else shift_text(scene.shift)}
    return {**rows, **{key: text for key, text in more.items() if text}}


def shift_text(shift: Shift) -> str:
    """Return the shift between PAN and MS in words."""
    return (
        f"MS lies ({-shift.row:+.2f}, {-shift.col:+.2f}) MS pixels (row, col) off PAN, "
        f"confidence {shift.confidence:.2f} from {shift.n_window} windows"
    )


def _angles(scene: Scene) -> str:
    known = scene.acquisition
    values: Mapping[str, float | None] = {
        "sun elevation": known.sun_elevation,
        "sun azimuth": known.sun_azimuth,
        "off nadir": known.off_nadir,
        "view azimuth": known.view_azimuth,
    }
    shown = [f"{name} {value:.4g}" for name, value in values.items() if value is not None]
    cloud = [f"cloud {known.cloud:.0%}"] if known.cloud is not None else []
    return ", ".join([*shown, *cloud])


def _calibration_line(scene: Scene) -> str:
    if scene.calibration is not None:
        return f"calibration: {scene.calibration.source}"
    return scene.uncalibrated or "no calibration"


def _layer_line(layer: Layer) -> str:
    rows, cols = layer.grid.resolution
    rule = "no nodata value" if layer.nodata is None else f"nodata {layer.nodata:g}"
    if layer.nodata is not None and layer.n_band > 1:
        rule += " where all bands have it" if layer.nodata >= 0 else " where any band has it"
    rule += " and a mask" if layer.mask else ""
    names = [Path(public_name(path)).name for path in layer.paths]
    shown = ", ".join(names) if len(names) <= len(("blue", "green", "red", "nir")) else f"{names[0]} + {len(names) - 1}"
    size = f"{layer.grid.shape[0]} x {layer.grid.shape[1]} x {layer.n_band}"
    return f"{shown}: {size}, {layer.dtype}, pixel {rows:.6g} x {cols:.6g}, {rule}"


def _band(scene: Scene, place: int) -> dict[str, Any]:
    band = scene.sensor.bands[place]
    return {
        "role": band.role,
        "description": scene.ms.descriptions[place] or None,
        "wavelength": None if band.wavelength is None else list(band.wavelength),
        "gnyq": band.gnyq,
    }


def _layer(layer: Layer, native: float | None) -> dict[str, Any]:
    nodata = layer.nodata
    return {
        "files": [Path(public_name(path)).name for path in layer.paths],
        "dtype": layer.dtype,
        "nodata": nodata if nodata is None or np.isfinite(nodata) else str(nodata),
        "mask": layer.mask,
        "gsd": _gsd(layer.grid, native),
        **_grid(layer.grid),
    }


def _grid(grid: Grid) -> dict[str, Any]:
    transform = [value + 0.0 for value in grid.transform[:6]]  # no -0.0
    return {"shape": list(grid.shape), "transform": transform, "resolution": list(grid.resolution)}


def _gsd(grid: Grid, native: float | None) -> float | None:
    """Metres on the ground: the pixel size on a map in metres, elsewhere what the sensor has at nadir."""
    if grid.crs is None:
        return native
    from pyproj import CRS

    axes = CRS.from_user_input(grid.crs).axis_info
    if not axes or axes[0].unit_name in _ANGLE_UNITS:
        return native
    return round(axes[0].unit_conversion_factor * float(np.sqrt(np.prod(grid.resolution))), 6)


def _short(crs: str | None) -> str:
    return "none" if crs is None else f"{crs[:36]} ..." if len(crs) > _LONGEST_CRS else crs
