"""Deliveries in the old layout of GeoEye and IKONOS: ``po_<order>_<band>_<component>.tif`` with texts beside them."""

from __future__ import annotations

from deliveries.pixels import formula, linear_rpc, write_tiff

BANDS = ("blu", "grn", "red", "nir")
_NAMES = {
    "errBias": "ERR_BIAS",
    "errRand": "ERR_RAND",
    "lineOffset": "LINE_OFF",
    "sampOffset": "SAMP_OFF",
    "latOffset": "LAT_OFF",
    "longOffset": "LONG_OFF",
    "heightOffset": "HEIGHT_OFF",
    "lineScale": "LINE_SCALE",
    "sampScale": "SAMP_SCALE",
    "latScale": "LAT_SCALE",
    "longScale": "LONG_SCALE",
    "heightScale": "HEIGHT_SCALE",
    "lineNumCoef": "LINE_NUM_COEFF",
    "lineDenCoef": "LINE_DEN_COEFF",
    "sampNumCoef": "SAMP_NUM_COEFF",
    "sampDenCoef": "SAMP_DEN_COEFF",
}


def ge1_old(
    folder,
    *,
    sensor="GeoEye-1",
    files=("pan", *BANDS),
    component="0000000",
    image_type="PAN/MSI",
    rpc=True,
    pixels=None,
):
    """PAN 256 x 256 at 0.5 m, bands 64 x 64 at 2 m, one file for each of `files`."""
    root = folder / "po_2620001"
    root.mkdir(parents=True, exist_ok=True)
    draw = pixels or (lambda _, *shape: formula(*shape))
    ms = draw("ms", 4, 64, 64)
    for file in files:
        stem = f"po_2620001_{file}_{component}"
        if file == "pan":
            write_tiff(root / f"{stem}.tif", draw("pan", 1, 256, 256), size=0.5)
        else:
            places = {"rgb": [2, 1, 0], "bgrn": [0, 1, 2, 3], "msi": [0, 1, 2, 3]}
            write_tiff(root / f"{stem}.tif", ms[places.get(file) or [BANDS.index(file)]], size=2.0)
        if rpc:
            offset, scale = (128, 128) if file == "pan" else (31.625, 32)
            (root / f"{stem}_rpc.txt").write_text(rpc_text(linear_rpc(offset, scale, offset, scale)))
    (root / "po_2620001_metadata.txt").write_text(metadata_text(sensor, image_type))
    return root


def metadata_text(sensor, image_type="PAN/MSI"):
    """The text that goes with an order, shortened."""
    return f"""==================================================================
Version Number: 2.2
==================================================================
Product Order Metadata

Creation Date: 07/08/11
Product Order Number: 2620001
Sensor Type: Satellite
Sensor Name: {sensor}
Product Line: Geo
Processing Level: Standard Geometrically Corrected
Image Type: {image_type}
   Bits per Pixel per Band: 11 bits per pixel
Multispectral Files: BGRN
==================================================================
Source Image Metadata

Number of Source Images: 1
Source Image ID: 2011070410223300000011601234
Product Image ID: 000
Sensor: {sensor}
Acquired Nominal GSD
   Cross Scan: 0.41 meters
Nominal Collection Azimuth: 158.4 degrees
Nominal Collection Elevation: 72.9 degrees
Sun Angle Azimuth: 136.1 degrees
Sun Angle Elevation: 62.6 degrees
Acquisition Date/Time: 2011-07-04 10:22 GMT
Percent Cloud Cover: 2
"""


def rpc_text(values):
    """An ``_rpc.txt``: one number a line, with its unit."""
    lines = []
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"{_NAMES[key]}_{number}: {term:+.15E}" for number, term in enumerate(value, 1)]
        elif key.startswith("err"):
            lines.append(f"{_NAMES[key]}: {value:.3f} meters")
        else:
            unit = "pixels" if key.startswith(("line", "samp")) else "meters" if key.startswith("height") else "degrees"
            lines.append(f"{_NAMES[key]}: {value:+.8f} {unit}")
    return "\n".join([*lines, ""])
