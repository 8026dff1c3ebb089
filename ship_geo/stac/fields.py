"""What is known of a scene and its output, as fields of an Item's properties and of its data asset."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ship_geo.errors import OutputError
from ship_geo.provenance import software_version
from ship_geo.stac.model import SHA256
from ship_geo.writer import choose_nodata

if TYPE_CHECKING:
    from ship_geo.grids import Grid
    from ship_geo.scene import Scene

COMMON_NAMES = {
    **{name: name for name in ("coastal", "blue", "green", "yellow", "red", "rededge", "nir")},
    "rededge2": "rededge075",
    "nir2": "nir09",
    "swir1": "swir16",
    "swir2": "swir22",
}
"""Names of the eo extension for band roles."""

_UNITS = {"radiance": "W.m-2.sr-1.um-1", "toa": "1"}  # UCUM; DN have none
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_ZARR = "application/vnd.zarr; version=3"
_CHUNK = 2**22
_TURN = 360.0


def scene_fields(scene: Scene) -> dict[str, Any]:
    """Return platform, resolution, place on the map, cloud and angles, as far as they are known."""
    known, grid = scene.acquisition, scene.pair.output
    is_known = bool(scene.sensor.platform_ids)
    fields = {
        "platform": scene.sensor.name if is_known else known.platform and known.platform.lower(),
        "gsd": _metres(grid) or scene.sensor.gsd_pan,
        "eo:cloud_cover": None if known.cloud is None else round(known.cloud * 100, 6),
        "view:off_nadir": None if known.off_nadir is None else abs(known.off_nadir),
        "view:azimuth": None if known.view_azimuth is None else known.view_azimuth % _TURN,
        "view:sun_azimuth": None if known.sun_azimuth is None else known.sun_azimuth % _TURN,
        "view:sun_elevation": known.sun_elevation,
    }
    return {**_without_none(fields), **_projection(grid, scene)}


def _projection(grid: Grid, scene: Scene) -> dict[str, Any]:
    fields: dict[str, Any] = {"proj:shape": list(grid.shape)}
    if scene.geometry in ("map", "ortho"):
        fields["proj:transform"] = list(grid.transform[:6])
    if grid.crs is None:
        return {"proj:code": None, **fields}  # null says that there is none
    from pyproj import CRS

    crs = CRS.from_user_input(grid.crs)
    authority = crs.to_authority()
    code = {"proj:code": ":".join(authority)} if authority is not None else {"proj:wkt2": crs.to_wkt()}
    return {**fields, **code, "proj:bbox": list(grid.bounds)}


def processing_fields(scene: Scene, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the output was made."""
    product, model = scene.acquisition.product_id or scene.name, facts.get("model", "ship_geo")
    fields: dict[str, Any] = {
        "processing:lineage": f"MS of {product} pan-sharpened onto the grid of PAN with {model}",
        "processing:software": {"ship_geo": software_version()},
    }
    if facts.get("parameters") is not None:
        expression = {"format": "ship_geo.pansharpen_scene", "expression": dict(facts["parameters"])}
        fields["processing:expression"] = expression
    return fields


def data_asset(path: Path, scene: Scene, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the asset of an output: the file, its values and its bands.

    Raises
    ------
    OutputError
        When the file cannot be read.
    """
    try:
        facts_of_file = _file_fields(path)
    except OSError as error:
        msg = f"the output of a STAC Item must exist, got {path} ({error.strerror}); write it first"
        raise OutputError(msg) from error
    nodata = facts["nodata"] if "nodata" in facts else choose_nodata(scene)
    values = {
        "data_type": facts.get("dtype", scene.ms.dtype),
        "nodata": None if nodata is None else "nan" if math.isnan(nodata) else _whole(nodata),
        "unit": _UNITS.get(facts.get("radiometry", "dn")),
        "raster:sampling": "area",
        "raster:spatial_resolution": _metres(scene.pair.output),
    }
    return {
        "href": f"./{path.name}",
        "type": _ZARR if path.is_dir() else _COG,
        "title": "Pan-sharpened bands",
        "roles": ["data"],
        **_without_none(values),
        "bands": [_band(scene, place, facts) for place in range(scene.ms.n_band)],
        **facts_of_file,
    }


def _file_fields(path: Path) -> dict[str, Any]:
    """Return the size of an output and, of a file, its checksum."""
    size = path.stat().st_size
    if path.is_dir():  # a checksum would depend on the order of its objects
        return {"file:size": sum(part.stat().st_size for part in path.rglob("*") if part.is_file())}
    return {"file:size": size, "file:checksum": SHA256 + _checksum(path)}


def _band(scene: Scene, place: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    band, limits = scene.sensor.bands[place], scene.sensor.bands[place].wavelength
    is_dn = facts.get("radiometry", "dn") == "dn"
    fields = {
        "name": band.role,
        "description": scene.ms.descriptions[place] or None,
        "eo:common_name": COMMON_NAMES.get(band.role),
        "eo:center_wavelength": None if limits is None else round(sum(limits) / 2000, 6),
        "eo:full_width_half_max": None if limits is None else round((limits[1] - limits[0]) / 1000, 6),
        "raster:scale": _unless(scene.ms.scales, place, 1) if is_dn else None,
        "raster:offset": _unless(scene.ms.offsets, place, 0) if is_dn else None,
    }
    return _without_none(fields)


def _metres(grid: Grid) -> float | None:
    """Pixel size in metres; None on a map in degrees and without a map."""
    if grid.crs is None:
        return None
    from pyproj import CRS

    axis = CRS.from_user_input(grid.crs).axis_info[0]
    if axis.unit_name in ("degree", "grad", "radian", "unknown"):
        return None
    return round(math.sqrt(math.prod(grid.resolution)) * axis.unit_conversion_factor, 6)


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def _unless(values: Sequence[float], place: int, neutral: float) -> float | None:
    return values[place] if values and values[place] != neutral else None


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
