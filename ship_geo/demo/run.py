"""The demo: make a delivery, sharpen it with SHIP++, and compare the result with classical methods.

The way of the data is that of any user: a folder in, `ship_geo.api`, files out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ship_geo.demo.acquire import GSD_PAN, RATIO
from ship_geo.demo.metadata import PRODUCT
from ship_geo.demo.scene import DemoScene, files_of_scene, make_scene, refuse_existing

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from ship_geo._typing import PathLike
    from ship_geo.products.layers import Layer

CLASSICAL = ("exp", "brovey", "mtf-glp-fs")
"""Methods that the result is compared with."""

COLUMNS: Mapping[str, tuple[str, int, str]] = {
    "sam": ("SAM", 2, "0"),
    "ergas": ("ERGAS", 2, "0"),
    "q2n": ("Q2n", 4, "1"),
    "psnr": ("PSNR", 2, "inf"),
    "d_lambda": ("D_lambda", 4, "0"),
    "d_s": ("D_s", 4, "0"),
    "qnr": ("QNR", 4, "1"),
    "hqnr": ("HQNR", 4, "1"),
}
"""Index -> (heading, decimals, best value); the first four need the reference."""


def run_demo(
    folder: PathLike,
    *,
    size: int = 1024,
    n_band: int = 4,
    seed: int = 0,
    model: str = "auto",
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Make a delivery, sharpen it, judge it, and draw it.

    Parameters
    ----------
    folder
        Where the delivery ``000000000000_01``, ``demo_reference.tif``, ``demo_fused.tif`` with its STAC Item
        ``demo_fused.json``, and ``demo.png`` go.
    size, n_band, seed
        As in `make_scene`.
    model, device
        As in `ship_geo.pansharpen_scene`.
    overwrite
        Whether the files of an earlier demo may be replaced.
    progress
        Show progress on the standard error.

    Returns
    -------
    dict
        Plain values: ``files`` (kind -> path), ``model``, ``record`` of the run, and ``quality`` (method -> index ->
        value), the classical methods first.

    Raises
    ------
    ArgumentError
        If an argument cannot work.
    OutputError
        If the folder cannot be written, or has files of these names and `overwrite` is not set or they are of
        another origin.
    """
    from ship_geo.api import pansharpen_scene, quality  # scenes are made without it
    from ship_geo.stac import item_path

    target = Path(folder)
    fused_path, picture = target / "demo_fused.tif", target / "demo.png"
    item = item_path(fused_path)
    refuse_existing((*files_of_scene(target), fused_path, item, picture), overwrite=overwrite)
    scene = make_scene(target, size=size, n_band=n_band, seed=seed, overwrite=overwrite)
    how: dict[str, Any] = {"device": device, "progress": progress}
    with pansharpen_scene(
        scene.delivery, model=model, **how, output=fused_path, overwrite=overwrite, stac=True
    ) as fused:
        name, record = str(fused.attrs["model"]), json.loads(fused.attrs["ship_geo_record"])
        _draw(picture, scene, fused.to_numpy(), name)
    table = {
        method: quality(fused, ms=scene.ms, pan=scene.pan, ref=scene.reference)
        for method, fused in _results(scene, fused_path, name, how)
    }
    files = {
        "delivery": scene.delivery,
        "reference": scene.reference,
        "fused": fused_path,
        "stac": item,
        "picture": picture,
    }
    return {
        "files": {kind: str(path) for kind, path in files.items()},
        "model": name,
        "record": record,
        "quality": table,
    }


def _results(
    scene: DemoScene, fused: Path, name: str, how: Mapping[str, Any]
) -> Iterator[tuple[str, Path | xr.DataArray]]:
    """The classical methods, computed one after the other, and the file that is there."""
    from ship_geo.api import pansharpen_scene

    for method in CLASSICAL:
        yield method, pansharpen_scene(scene.delivery, model=method, **how)
    yield name, fused


def _draw(path: Path, scene: DemoScene, fused: NDArray[Any], name: str) -> None:
    from ship_geo.demo.picture import save_picture
    from ship_geo.scene import open_scene

    opened = open_scene(scene.delivery)
    labels = (f"MS {GSD_PAN * RATIO:g} m", f"PAN {GSD_PAN:g} m", f"fused by {name}")
    ms, pan = _read(opened.ms), _read(opened.pan)
    save_picture(path, ms, pan, fused, roles=scene.sensor.roles, labels=labels, description=f"synthetic, {PRODUCT}")


def _read(layer: Layer) -> NDArray[Any]:
    n_row, n_col = layer.grid.shape
    with layer.open() as reader:
        return reader.read(0, n_row, 0, n_col)[0]


def format_table(table: Mapping[str, Mapping[str, float]]) -> str:
    """Return the quality table of `run_demo` as text."""
    rows = [["method", *(heading for heading, _, _ in COLUMNS.values())]]
    rows += [
        [method, *(f"{values[key]:.{digits}f}" for key, (_, digits, _) in COLUMNS.items())]
        for method, values in table.items()
    ]
    rows.append(["(best)", *(best for _, _, best in COLUMNS.values())])
    return format_columns(rows)


def format_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
