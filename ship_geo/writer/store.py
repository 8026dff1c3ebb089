"""From chunks to the finished Zarr store at the target: what is said of it, and the step in which it takes its name.

Attributes follow the CF conventions as GeoZarr asks for: a grid mapping ``spatial_ref`` with WKT and GeoTransform,
coordinates of pixel centres, names and wavelengths of bands, ``_FillValue``; xarray and rioxarray read them.
The convention that could surprise: everything but pixels is written when all blocks are there, again at every try.
"""

from __future__ import annotations

import base64
import os
import shutil
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr

from ship_geo.errors import OutputError
from ship_geo.grids import Grid, pixel_centres
from ship_geo.provenance import software_version
from ship_geo.writer.chunks import PIXELS, VALID, ZarrPixels, consolidate
from ship_geo.writer.profile import OutputProfile

_AXES = (("y", "latitude", "projection_y_coordinate"), ("x", "longitude", "projection_x_coordinate"))


def publish_store(
    pixels: ZarrPixels,
    profile: OutputProfile,
    tags: Mapping[str, str],
    target: Path,
    *,
    overwrite: bool,
    is_masked: bool,
) -> int:
    """Describe a store whose pixels are all there, give it its name, and return its size, bytes.

    Raises
    ------
    OutputError
        When something else has taken the name meanwhile and must not be replaced.
    """
    _describe(pixels, profile, tags, is_masked=is_masked)
    consolidate(pixels.path)
    files = [path for path in pixels.path.rglob("*") if path.is_file()]
    for path in [*files, *{path.parent for path in files}, pixels.path]:
        _flush(path)
    size = sum(path.stat().st_size for path in files)
    _move(pixels.path, target, overwrite=overwrite)
    _flush(target.parent)
    return size


def _describe(pixels: ZarrPixels, profile: OutputProfile, tags: Mapping[str, str], *, is_masked: bool) -> None:
    import zarr

    made = pixels.folder / "described.zarr"
    shutil.rmtree(made, ignore_errors=True)
    root = zarr.create_group(made, zarr_format=3, attributes=_root_attributes(profile, tags))
    names = _create_coordinates(root, profile)
    about = _pixel_attributes(pixels, profile, names, is_masked=is_masked)
    pixels.create_arrays(root, {PIXELS: about, VALID: _valid_attributes(names)})
    if not is_masked:
        shutil.rmtree(made / VALID, ignore_errors=True)
        pixels.drop_mask()
    shutil.copytree(made, pixels.path, dirs_exist_ok=True)  # arrays without pixels have no files but metadata
    shutil.rmtree(made)


def _root_attributes(profile: OutputProfile, tags: Mapping[str, str]) -> dict[str, Any]:
    model = {} if profile.rpc is None else {"rpc": profile.rpc.to_tags()}
    return {"Conventions": "CF-1.11", "source": f"ship_geo {software_version()}", **profile.tags, **tags, **model}


def _pixel_attributes(
    pixels: ZarrPixels, profile: OutputProfile, names: list[str], *, is_masked: bool
) -> dict[str, Any]:
    known: dict[str, Any] = {
        "long_name": list(profile.descriptions),
        "coordinates": " ".join(names),
        "units": profile.tags.get("UNITS", "DN"),
    }
    if profile.nodata is not None:
        known["_FillValue"] = _encoded(pixels.fill_value)
    if "spatial_ref" in names:
        known["grid_mapping"] = "spatial_ref"
    if set(profile.scales) - {1.0} or set(profile.offsets) - {0.0}:  # CF knows one for all bands only
        known["scales"] = list(profile.scales or (1.0,) * profile.n_band)
        known["offsets"] = list(profile.offsets or (0.0,) * profile.n_band)
    return {**known, "ancillary_variables": VALID} if is_masked else known


def _valid_attributes(names: list[str]) -> dict[str, Any]:
    mapping = {"grid_mapping": "spatial_ref"} if "spatial_ref" in names else {}
    return {"long_name": "whether a pixel is valid", "flag_values": [0, 1], "flag_meanings": "invalid valid", **mapping}


def _encoded(fill: Any) -> int | str:
    """Write a fill value as xarray does in attributes of format 3: JSON has no NaN."""
    return int(fill) if fill.dtype.kind in "iu" else base64.b64encode(struct.pack("<d", float(fill))).decode()


def _create_coordinates(root: Any, profile: OutputProfile) -> list[str]:
    """Write coordinates, and return the names of those that are no dimensions."""
    roles = profile.roles or tuple(str(number + 1) for number in range(profile.n_band))
    _create(root, "band", np.array(roles, dtype=object), ("band",), {"long_name": "role of the band"}, "string")
    names = []
    if any(limits is not None for limits in profile.wavelengths):
        for name, values in _wavelengths(profile).items():
            _create(root, name, values, ("band",), {"units": "nm", "long_name": f"{name} of the band"})
            names.append(name)
    grid = profile.grid
    if profile.rpc is not None and grid.crs is None:
        return names  # in sensor geometry there is no map
    spatial = _spatial_ref(grid)
    _create(root, "spatial_ref", np.array(0), (), spatial, "int64")
    if grid.transform.b == 0 == grid.transform.d:  # else no row has a coordinate
        is_degrees = str(spatial.get("grid_mapping_name", "")) == "latitude_longitude"
        for values, (name, degrees, projected) in zip(pixel_centres(grid)[::-1], _AXES, strict=True):
            meaning = {"standard_name": degrees if is_degrees else projected} if grid.crs else {}
            _create(root, name, values, (name,), {"axis": name.upper(), **meaning})
    return [*names, "spatial_ref"]


def _wavelengths(profile: OutputProfile) -> dict[str, np.ndarray[Any, Any]]:
    limits = np.array([(np.nan, np.nan) if known is None else known for known in profile.wavelengths], np.float64)
    return {"wavelength": limits.mean(axis=1), "bandwidth": limits[:, 1] - limits[:, 0]}


def _spatial_ref(grid: Grid) -> dict[str, Any]:
    holder = xr.DataArray(np.zeros((1, 1), np.uint8), dims=("y", "x"))
    if grid.crs is not None:
        holder = holder.rio.write_crs(grid.crs)
    return dict(holder.rio.write_transform(grid.transform).spatial_ref.attrs)


def _create(root: Any, name: str, values: Any, dims: tuple[str, ...], about: dict[str, Any], kind: str = "") -> None:
    array = root.create_array(
        name,
        shape=values.shape,
        dtype=kind or values.dtype,
        chunks=values.shape,
        dimension_names=dims,
        attributes=about,
    )
    array[...] = values


def _move(made: Path, target: Path, *, overwrite: bool) -> None:
    """Give a store its name; what was there goes when the new one has it, and comes back when it does not get it."""
    old = made.with_name("replaced.zarr")
    shutil.rmtree(old, ignore_errors=True)
    if overwrite and target.exists():
        target.rename(old)
    try:
        made.rename(target)
    except OSError as error:
        if old.exists():
            with suppress(OSError):
                old.rename(target)
        if target.exists():
            msg = f"the output must not exist, got {target}, made while this job ran; choose another name"
            raise OutputError(msg) from error
        raise


def _flush(path: Path) -> None:
    """Let a file or folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
