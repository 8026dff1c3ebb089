"""The demo: make a scene, sharpen it with SHIP++, and compare it with classical methods.

The way of the data is that of any user: files in, `ship_geo.api`, files out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio

from ship_geo.demo.acquire import DemoScene, make_scene, refuse_existing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ship_geo._typing import PathLike

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
    """Make a scene, sharpen it, judge it, and draw it.

    Parameters
    ----------
    folder
        Where ``demo_PAN.tif``, ``demo_MS.tif``, ``demo_reference.tif``, ``demo_fused.tif`` and ``demo.png`` go.
    size, n_band, seed
        As in `make_scene`.
    model, device
        As in `ship_geo.pansharpen_scene`.
    overwrite
        Whether files of these names may be replaced.
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
        If the folder cannot be written, or has files of these names and `overwrite` is not set.
    """
    from ship_geo.api import pansharpen_scene, quality  # makes scenes without it

    target = Path(folder)
    fused_path, picture_path = target / "demo_fused.tif", target / "demo.png"
    refuse_existing((fused_path, picture_path), overwrite=overwrite)
    scene = make_scene(target, size=size, n_band=n_band, seed=seed, overwrite=overwrite)
    pair: dict[str, Any] = {"ms": scene.ms, "pan": scene.pan, "sensor": scene.sensor.name}
    how: dict[str, Any] = {"device": device, "progress": progress}
    with pansharpen_scene(**pair, **how, model=model, output=fused_path, overwrite=overwrite) as fused:
        name, record = str(fused.attrs["model"]), json.loads(fused.attrs["ship_geo_record"])
        _draw(picture_path, scene, fused.to_numpy(), name)
    table = {
        method: quality(pansharpen_scene(**pair, **how, model=method), **pair, ref=scene.reference)
        for method in CLASSICAL
    }
    table[name] = quality(fused_path, **pair, ref=scene.reference)
    files = {
        "pan": scene.pan,
        "ms": scene.ms,
        "reference": scene.reference,
        "fused": fused_path,
        "picture": picture_path,
    }
    return {
        "files": {kind: str(path) for kind, path in files.items()},
        "model": name,
        "record": record,
        "quality": table,
    }


def _draw(path: Path, scene: DemoScene, fused: NDArray[Any], name: str) -> None:
    from ship_geo.demo.picture import save_picture

    with rasterio.open(scene.ms) as ms, rasterio.open(scene.pan) as pan:
        labels = (f"MS {ms.res[0]:g} m", f"PAN {pan.res[0]:g} m", f"fused by {name}")
        save_picture(path, ms.read(), pan.read(), fused, roles=scene.sensor.roles, labels=labels)


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
