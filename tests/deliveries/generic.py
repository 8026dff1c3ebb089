"""Plain pairs and stacks that belong to no operator, good ones and malformed ones.

One function per delivery; each writes a small one and returns the path that a user would pass. `pixels` is a function
of kind ("ms" or "pan") and shape for other values than the formula. Malformed deliveries are the good one with a single
change.
"""

from __future__ import annotations

import numpy as np
import rasterio

from deliveries.pixels import CORNER, UTM33, formula, write_tiff

NAMES = ("blue", "green", "red", "nir")


def _pixels(kind, n_band, n_row, n_col):
    del kind
    return formula(n_band, n_row, n_col)


def pair(folder, ms_shape, pan_shape, *, ms_size=2.0, ms_corner=CORNER, crs=(UTM33, UTM33), pixels=_pixels):
    """Write ms.tif (four named bands) and pan.tif (0.5 m); `crs` of MS and of PAN."""
    write_tiff(
        folder / "ms.tif", pixels("ms", 4, *ms_shape), size=ms_size, corner=ms_corner, crs=crs[0], descriptions=NAMES
    )
    write_tiff(folder / "pan.tif", pixels("pan", 1, *pan_shape), size=0.5, crs=crs[1])
    return folder


def pair_4_0004(folder, **variant):
    """The ratio is no integer, the phase no whole pixel, and MS does not cover PAN."""
    return pair(folder, (240, 250), (1024, 1024), ms_size=2.0002, ms_corner=(500003.25, 4639994.75), **variant)


def pair_counts(folder, **variant):
    """The counts of pixels are 4.01 : 1, the pixel sizes exactly 4 : 1."""
    return pair(folder, (256, 256), (1027, 1027), **variant)


def pair_rgba(folder):
    """MS of three bands of bytes and an alpha band, 0 in the four leftmost columns."""
    ms = formula(4, 16, 20, modulus=250, dtype="uint8")
    ms[3] = 255
    ms[:, :, :4] = 0
    write_tiff(folder / "ms.tif", ms, size=2.0, photometric="RGB", alpha="YES")
    write_tiff(folder / "pan.tif", formula(1, 64, 80, modulus=250, dtype="uint8"), size=0.5)
    return folder


def pair_nodata(folder, dtype, value, *, is_tagged):
    """The four leftmost columns of MS and sixteen of PAN hold `value`."""
    tag = {"nodata": value} if is_tagged else {}
    for name, n_band, n_row, n_col, n_edge, size in (("ms", 4, 16, 20, 4, 2.0), ("pan", 1, 64, 80, 16, 0.5)):
        values = formula(n_band, n_row, n_col, modulus=250, dtype=dtype)
        values[:, :, :n_edge] = value
        descriptions = NAMES if name == "ms" else ()
        write_tiff(folder / f"{name}.tif", values, size=size, descriptions=descriptions, **tag)
    return folder


def pair_mask(folder):
    """Internal masks leave out the four leftmost columns of MS and sixteen of PAN, whose values look good."""
    pair(folder, (16, 20), (64, 80))
    for name, n_edge in (("ms", 4), ("pan", 16)):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(folder / f"{name}.tif", "r+") as file:
            mask = np.full(file.shape, 255, np.uint8)
            mask[:, :n_edge] = 0
            file.write_mask(mask)
    return folder


def interpolate(values, ratio):
    """Bilinear interpolation of (band, row, col) to a grid `ratio` times finer with the same outer edges."""
    for axis in (1, 2):
        n = values.shape[axis]
        places = (np.arange(n * ratio) + 0.5) / ratio - 0.5
        values = np.apply_along_axis(lambda line: np.interp(places, np.arange(len(line)), line), axis, values)  # noqa: B023
    return values


def stack(folder, ms, *, pixels=_pixels):
    """Write a PAN band and MS of the same size into one file."""
    bands = np.concatenate([pixels("pan", 1, *ms.shape[1:]), ms.astype(np.uint16)])
    return write_tiff(folder / "stack.tif", bands, size=0.5, descriptions=("pan", *NAMES))


def stack_rep(folder, *, pixels=_pixels):
    """MS pixels are repeated 4 x 4."""
    return stack(folder, pixels("ms", 4, 64, 64).repeat(4, axis=1).repeat(4, axis=2), pixels=pixels)


def stack_interp(folder, *, ratio=4, n=64, pixels=_pixels):
    """MS is interpolated to the pixels of PAN."""
    return stack(folder, np.rint(interpolate(pixels("ms", 4, n, n), ratio)), pixels=pixels)


def bad_truncated(folder, share):
    """Only this share of the bytes of pan.tif is there."""
    content = (pair_counts(folder) / "pan.tif").read_bytes()
    (folder / "pan.tif").write_bytes(content[: int(len(content) * share)])
    return folder


def bad_crs(folder):
    """MS is labelled with the neighbouring zone."""
    return pair_counts(folder, crs=("EPSG:32634", UTM33))


def bad_crs_none(folder):
    """PAN has coordinates but no CRS."""
    return pair_counts(folder, crs=(UTM33, None))


def bad_overlap(folder):
    """MS lies 10 km east."""
    return pair(folder, (256, 256), (1027, 1027), ms_corner=(CORNER[0] + 10_000, CORNER[1]))


def bad_empty(folder):
    """pan.tif holds nothing."""
    (pair_counts(folder) / "pan.tif").write_bytes(b"")
    return folder


def bad_vrt(folder):
    """pan.tif is the text of a VRT that names another file."""
    (pair_counts(folder) / "pan.tif").rename(folder / "hidden.dat")
    (folder / "pan.tif").write_text(
        '<VRTDataset rasterXSize="1027" rasterYSize="1027"><GeoTransform>500000,0.5,0,4640000,0,-0.5</GeoTransform>'
        '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="1">hidden.dat'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return folder
