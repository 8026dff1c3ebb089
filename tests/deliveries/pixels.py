"""What all synthetic deliveries share: pixel values, plain TIFFs, linear RPC models."""

from __future__ import annotations

import numpy as np
import rasterio
from affine import Affine

UTM33 = "EPSG:32633"
CORNER = (500000.0, 4640000.0)


def formula(n_band, n_row, n_col, modulus=2000, dtype="uint16", row0=0, col0=0):
    """DN = 1 + (11 b + 7 r + 3 c) mod M: never 0, every pixel known; (row0, col0) for the tiles of a mosaic."""
    band, row, col = np.ogrid[0:n_band, row0 : row0 + n_row, col0 : col0 + n_col]
    return (1 + (11 * band + 7 * row + 3 * col) % modulus).astype(dtype)


def write_tiff(path, values, *, size=None, corner=CORNER, crs=UTM33, descriptions=(), **profile):
    """Write (band, row, col); `size` is the pixel size, None: no georeference. The folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if size is not None:
        profile |= {"transform": Affine(size, 0, corner[0], 0, -size, corner[1]), "crs": crs}
    n_band, n_row, n_col = values.shape
    base = {"driver": "GTiff", "count": n_band, "height": n_row, "width": n_col, "dtype": values.dtype}
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **base, **profile) as file:
            file.write(values)
            for number, text in enumerate(descriptions, 1):
                file.set_band_description(number, text)
    return path


def linear_rpc(line_offset, line_scale, samp_offset, samp_scale, lat=41.9, lon=15.0):
    """Values of an RPC whose line falls with latitude and whose sample grows with longitude, by RPB names."""
    line_num, samp_num, den = [0.0] * 20, [0.0] * 20, [0.0] * 20
    line_num[2], samp_num[1], den[0] = -1.0, 1.0, 1.0
    return {
        "errBias": 1.0, "errRand": 0.1,
        "lineOffset": line_offset, "sampOffset": samp_offset, "latOffset": lat, "longOffset": lon,
        "heightOffset": 100.0,
        "lineScale": line_scale, "sampScale": samp_scale, "latScale": 0.005, "longScale": 0.005, "heightScale": 500.0,
        "lineNumCoef": line_num, "lineDenCoef": den, "sampNumCoef": samp_num, "sampDenCoef": den,
    }  # fmt: skip


def rpb_text(values, sat_id, band_id, eol="\n"):
    """An RPB file."""
    lines = [f'satId = "{sat_id}";', f'bandId = "{band_id}";', 'SpecId = "RPC00B";', "BEGIN_GROUP = IMAGE"]
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"\t{key} = (", ",\n".join(f"\t\t\t{number:.15E}" for number in value) + ");"]
        else:
            lines.append(f"\t{key} = {value!r};")
    return eol.join("\n".join([*lines, "END_GROUP = IMAGE", "END;", ""]).splitlines()) + eol
