"""Rasters brought onto another grid as they are read: by a change of CRS, an affine map, or a camera model.

A `Warp` is the plan, plain numbers and names; `open_warped` makes GDAL carry it out, block by block. Where the target
should lie is for `ship_geo.geometry` to say. GDAL gets the plan as the text of a warped VRT, not through rasterio's
``WarpedVRT``: that one ignores a camera model as soon as the target grid is given, and writes the path of an elevation
model in capitals. Two conventions could surprise. Every pixel is transformed exactly, without GDAL's approximation
along rows, so that a pixel has the same value whatever block it is read with. And heights are taken as they are, above
the ellipsoid: GDAL's own shift of vertical datums depends on the files that PROJ finds on a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeGuard
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import rasterio
from affine import Affine
from rasterio.dtypes import dtype_rev, typename_fwd
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from ship_geo.grids import Grid
from ship_geo.raster.facts import BandRef, Mask, Tile, Values
from ship_geo.raster.handles import open_raster, open_text
from ship_geo.raster.mosaic import add_version, mosaic_text, open_mosaic
from ship_geo.raster.values import to_dtype
from ship_geo.rpc import Rpc

if TYPE_CHECKING:
    from ship_geo._typing import RowCol, Shape

Resampling = Literal["nearest", "bilinear", "cubic", "cubicspline", "lanczos", "average"]
"""How values are interpolated."""

_GDAL_NAMES = {
    "nearest": "NearestNeighbour",
    "bilinear": "Bilinear",
    "cubic": "Cubic",
    "cubicspline": "CubicSpline",
    "lanczos": "Lanczos",
    "average": "Average",
}
_BLOCK_SIZE = 256  # pixels; a block is transformed whole, even if one pixel of it is asked for
_FULL_ALPHA = 100  # every data type can hold it
_GROUND_CRS = "EPSG:4326"  # longitude and latitude of a camera model
_PIXEL_ERROR = 0.001  # source pixels; only for the way from image to ground, which reading does not use


@dataclass(frozen=True)
class Warp:
    """How the pixels of a raster come onto another grid.

    Attributes
    ----------
    target
        Grid that is read.
    source
        Maps (column, row) of pixel edges of the raster to coordinates of `crs`; not used with a camera model.
    crs
        CRS of the raster. None: that of `target`, nothing is reprojected.
    rpc
        Camera model in pixels of the raster; None without one.
    height
        Metres above the ellipsoid for the camera model; with `dem`, metres that are added to its heights.
    dem
        Path of a raster with terrain heights; None: the ground is level.
    resampling
        How values are interpolated.
    scale
        Raster pixel size / target pixel size along (row, col) of the raster; below 0.95 pixels are averaged over the
        size of the target pixel. Fixed, for GDAL would otherwise measure it anew in each block.
    """

    target: Grid
    source: Affine = Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # noqa: RUF009 - immutable
    crs: str | None = None
    rpc: Rpc | None = None
    height: float = 0.0
    dem: str | None = None
    resampling: Resampling = "cubic"
    scale: RowCol = (1.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as values that JSON can hold; `from_dict` is the inverse."""
        target = self.target
        return {
            "target": {"shape": list(target.shape), "transform": list(target.transform[:6]), "crs": target.crs},
            "source": list(self.source[:6]),
            "crs": self.crs,
            "rpc": None if self.rpc is None else self.rpc.to_dict(),
            "height": self.height,
            "dem": self.dem,
            "resampling": self.resampling,
            "scale": list(self.scale),
        }

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Warp:
        """Return the plan that `to_dict` wrote; no file is opened."""
        target = plan["target"]
        rpc = plan["rpc"]
        fields = {
            **plan,
            "target": Grid((target["shape"][0], target["shape"][1]), Affine(*target["transform"]), target["crs"]),
            "source": Affine(*plan["source"]),
            "rpc": None if rpc is None else Rpc.from_dict(rpc),
            "scale": tuple(plan["scale"]),
        }
        return cls(**fields)


def open_warped(
    bands: Sequence[BandRef],
    warp: Warp,
    *,
    nodata: float | None = None,
    has_mask: bool = False,
    tiles: Sequence[Tile] = (),
    shape: Shape | None = None,
) -> Any:
    """Open bands on the target grid of a warp.

    Parameters
    ----------
    bands
        Bands in the order in which they are wanted, all with one size and data type.
    warp
        The plan.
    nodata
        Value that marks invalid pixels: where all bands have it when it is zero or positive, in any band when it is
        negative, as in `find_valid`. Tags of the files do not count.
    has_mask
        Whether the mask or the alpha band of the file (of the first, of several) marks invalid pixels, too.
    tiles, shape
        Files and size of a mosaic, of which `bands` then name the index file.

    Returns
    -------
    dataset
        Open rasterio dataset, whose last band says which pixels are valid. Read it with `read_warped`.

    Raises
    ------
    ProductError
        When a file is missing or no raster.
    RasterioIOError
        When GDAL cannot open it, or the elevation model.
    """
    with open_mosaic(tiles, shape or (1, 1)) if tiles else open_raster(bands[0].path) as dataset:
        facts = _Source(
            text=mosaic_text(tiles, shape or (1, 1), dataset.count, dataset.dtypes[0])
            if tiles
            else _gdal_name(dataset),
            shape=dataset.shape,
            dtype=dataset.dtypes[0],
            alpha=_alpha_band(dataset) if has_mask else None,
        )
    numbers = [ref.band for ref in bands]
    if len({ref.path for ref in bands}) > 1:
        facts, numbers = _stack(bands, facts, has_mask=has_mask), list(range(1, len(bands) + 1))
    plan = warp if warp.dem is None or "://" not in warp.dem else replace(warp, dem=_name_in_gdal(warp.dem))
    return open_text(_warp_text(facts, numbers, plan, _held(nodata, facts.dtype)), bands[0].path)


def read_warped(dataset: Any, window: Window) -> tuple[Values, Mask]:
    """Read a block of what `open_warped` opened.

    Parameters
    ----------
    dataset
        From `open_warped`.
    window
        Inside the target grid.

    Returns
    -------
    values
        (band, row, col) in the data type of the raster; 0, or negative nodata, where nothing is known.
    valid
        (band, row, col) of bool, the same for all bands: False outside the raster and where less than half of what a
        pixel is interpolated from is valid; per band where a value is not finite. Nodata values of zero and above
        are not looked for again: interpolated values may meet them by chance.

    Raises
    ------
    RasterioIOError
        When GDAL cannot read it.
    """
    read: Values = dataset.read(window=window)
    values, alpha = read[:-1], read[-1]
    is_known = alpha >= _FULL_ALPHA / 2
    if dataset.nodata is not None:
        is_known &= (values != values.dtype.type(dataset.nodata)).all(axis=0)
    valid: Mask = np.repeat(is_known[None], len(values), axis=0)
    return values, valid & np.isfinite(values) if values.dtype.kind == "f" else valid


@dataclass(frozen=True)
class _Source:
    text: str  # path or VRT text
    shape: Shape
    dtype: str
    alpha: int | None


def _gdal_name(dataset: Any) -> str:
    # URLs have another name in GDAL ("/vsicurl/https://...").
    name = str(dataset.name)
    return str(dataset.files[0]) if "://" in name and dataset.files else name


def _name_in_gdal(path: str) -> str:
    with open_raster(path) as dataset:
        return _gdal_name(dataset)


def _alpha_band(dataset: Any) -> int | None:
    return next((i for i, colour in enumerate(dataset.colorinterp, 1) if colour is ColorInterp.alpha), None)


def _stack(bands: Sequence[BandRef], first: _Source, *, has_mask: bool) -> _Source:
    n_row, n_col = map(str, first.shape)
    root = Element("VRTDataset", rasterXSize=n_col, rasterYSize=n_row)
    for number, ref in enumerate(bands, 1):
        band = SubElement(root, "VRTRasterBand", dataType=_gdal_type(first.dtype), band=str(number))
        _add_source(band, ref.path, str(ref.band), first.shape)
    if has_mask:
        band = SubElement(SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        _add_source(band, bands[0].path, "mask,1", first.shape)
    return _Source(tostring(root, encoding="unicode"), first.shape, first.dtype, None)


def _add_source(band: Element, path: str, number: str, shape: Shape) -> None:
    source = SubElement(band, "SimpleSource")
    SubElement(source, "SourceFilename", relativeToVRT="0", shared="0").text = _name_in_gdal(path)
    add_version(source, path)
    SubElement(source, "SourceBand").text = number
    for rect in ("SrcRect", "DstRect"):
        SubElement(source, rect, xOff="0", yOff="0", xSize=str(shape[1]), ySize=str(shape[0]))


def _held(nodata: float | None, dtype: str) -> float | None:
    """Return nodata as the data type holds it, None where it cannot."""
    if nodata is not None and np.isnan(nodata) and np.dtype(dtype).kind == "f":
        return nodata  # so that it does not spread to its neighbours
    marker = to_dtype(nodata, dtype)
    return None if marker is None else float(marker)


def _is_of_any_band(nodata: float | None) -> TypeGuard[float]:
    return nodata is not None and nodata < 0


def _gdal_type(dtype: str) -> str:
    return str(typename_fwd[dtype_rev[dtype]])


def _warp_text(source: _Source, numbers: Sequence[int], warp: Warp, nodata: float | None) -> str:
    n_row, n_col = map(str, warp.target.shape)
    root = Element("VRTDataset", rasterXSize=n_col, rasterYSize=n_row, subClass="VRTWarpedDataset")
    if warp.target.crs is not None:
        SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = _wkt(warp.target.crs)
    SubElement(root, "GeoTransform").text = _six(warp.target.transform)
    for number in range(1, len(numbers) + 2):
        kind = {"dataType": _gdal_type(source.dtype), "band": str(number), "subClass": "VRTWarpedRasterBand"}
        band = SubElement(root, "VRTRasterBand", kind)
        if number > len(numbers):
            SubElement(band, "ColorInterp").text = "Alpha"
        elif _is_of_any_band(nodata):
            SubElement(band, "NoDataValue").text = repr(float(nodata))
    SubElement(root, "BlockXSize").text = SubElement(root, "BlockYSize").text = str(_BLOCK_SIZE)
    _add_options(root, source, numbers, warp, nodata)
    return tostring(root, encoding="unicode")


def _add_options(root: Element, source: _Source, numbers: Sequence[int], warp: Warp, nodata: float | None) -> None:
    options = SubElement(root, "GDALWarpOptions")
    SubElement(options, "ResampleAlg").text = _GDAL_NAMES[warp.resampling]
    SubElement(options, "WorkingDataType").text = _gdal_type(source.dtype)
    named = {
        "INIT_DEST": repr(float(nodata)) if _is_of_any_band(nodata) else "0",
        "DST_ALPHA_MAX": str(_FULL_ALPHA),
        "ERROR_OUT_IF_EMPTY_SOURCE_WINDOW": "FALSE",
        "YSCALE": repr(float(warp.scale[0])),
        "XSCALE": repr(float(warp.scale[1])),
        # YES: where all bands have the value. NO: band by band, what is not written keeps INIT_DEST.
        "UNIFIED_SRC_NODATA": "NO" if _is_of_any_band(nodata) else "YES",
    }
    for name, value in named.items():
        SubElement(options, "Option", name=name).text = value
    SubElement(options, "SourceDataset", relativeToVRT="0").text = source.text
    _add_transformer(SubElement(options, "Transformer"), warp)
    mappings = SubElement(options, "BandList")
    for place, number in enumerate(numbers, 1):
        mapping = SubElement(mappings, "BandMapping", src=str(number), dst=str(place))
        if nodata is not None:
            SubElement(mapping, "SrcNoDataReal").text = repr(float(nodata))
            SubElement(mapping, "SrcNoDataImag").text = "0"
    if source.alpha is not None:
        SubElement(options, "SrcAlphaBand").text = str(source.alpha)
    SubElement(options, "DstAlphaBand").text = str(len(numbers) + 1)


def _add_transformer(parent: Element, warp: Warp) -> None:
    chain = SubElement(parent, "GenImgProjTransformer")
    if warp.rpc is not None:
        _add_camera(SubElement(chain, "SrcRPCTransformer"), warp, warp.rpc)
    else:
        SubElement(chain, "SrcGeoTransform").text = _six(warp.source)
        SubElement(chain, "SrcInvGeoTransform").text = _six(~warp.source)
    SubElement(chain, "DstGeoTransform").text = _six(warp.target.transform)
    SubElement(chain, "DstInvGeoTransform").text = _six(~warp.target.transform)
    source_crs = _GROUND_CRS if warp.rpc is not None else warp.crs
    if source_crs is not None and warp.target.crs is not None:
        inner = SubElement(SubElement(chain, "ReprojectTransformer"), "ReprojectionTransformer")
        SubElement(inner, "SourceSRS").text = _wkt(source_crs)
        SubElement(inner, "TargetSRS").text = _wkt(warp.target.crs)


def _add_camera(parent: Element, warp: Warp, rpc: Rpc) -> None:
    camera = SubElement(parent, "RPCTransformer")
    values = {"Reversed": "0", "HeightOffset": repr(float(warp.height)), "PixErrThreshold": repr(_PIXEL_ERROR)}
    if warp.dem is not None:
        values |= {"DEMPath": warp.dem, "DEMInterpolation": "bilinear", "DEMApplyVDatumShift": "0"}
    for name, value in values.items():
        SubElement(camera, name).text = value
    metadata = SubElement(camera, "Metadata")
    for key, value in rpc.to_tags().items():
        SubElement(metadata, "MDI", key=key).text = value


def _wkt(crs: str) -> str:
    return str(rasterio.CRS.from_user_input(crs).to_wkt())


def _six(transform: Affine) -> str:
    # GDAL's order: corner x, x by column, x by row, corner y, y by column, y by row.
    a, b, c, d, e, f = (repr(float(value)) for value in transform[:6])
    return f"{c},{a},{b},{f},{d},{e}"
