"""From what a caller has, files or arrays or a delivery, to the pair that an image is judged against.

Nothing is measured here. The convention that could surprise: the judged image and its reference may be arrays beside
files, or files beside arrays, but the pair is one or the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Unpack

from ship_geo._typing import PathLike
from ship_geo.array_pair import ArrayPair, open_pair
from ship_geo.assessment.scene import Options, assess_scene
from ship_geo.assessment.sources import Raster
from ship_geo.assessment.value import Assessment
from ship_geo.errors import ArgumentError
from ship_geo.scene import Scene, SceneOptions, open_scene
from ship_geo.sensors import Sensor


def assess_images(
    fused: PathLike | Raster,
    source: PathLike | Scene | None = None,
    *,
    ms: Raster | PathLike | Sequence[PathLike] | None = None,
    pan: Raster | PathLike | None = None,
    ref: Raster | PathLike | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
    options: Options | None = None,
    **opening: Unpack[SceneOptions],
) -> Assessment:
    """Judge an image; see `ship_geo.assess`, whose arguments these are."""
    for name, image in (("fused", fused), ("ref", ref)):
        if image is not None and not isinstance(image, Raster | str | os.PathLike):
            msg = f"`{name}` is a path or an array of xarray, got {type(image).__name__}; wrap it with its grid"
            raise ArgumentError(msg)
    return assess_scene(fused, _pair_of(source, ms, pan, sensor, bands, opening), ref, options)


def _pair_of(
    source: PathLike | Scene | None,
    ms: Raster | PathLike | Sequence[PathLike] | None,
    pan: Raster | PathLike | None,
    sensor: str | Sensor | None,
    bands: Sequence[str] | None,
    opening: SceneOptions,
) -> Scene | ArrayPair:
    if isinstance(ms, Raster) and isinstance(pan, Raster):
        if source is not None or opening:
            given = ["source"] * (source is not None) + sorted(opening)
            msg = f"a pair of arrays needs only `sensor` and `bands`, got {', '.join(given)}; leave that out"
            raise ArgumentError(msg)
        return open_pair(ms, pan, sensor=sensor, bands=bands)
    if isinstance(ms, Raster) or isinstance(pan, Raster):
        msg = (
            f"`ms` and `pan` are both arrays or both files, got {type(ms).__name__} and {type(pan).__name__}; open both"
        )
        raise ArgumentError(msg)
    if isinstance(source, Scene):
        given = [name for name, value in (("ms", ms), ("pan", pan), ("sensor", sensor), ("bands", bands)) if value]
        if given or opening:
            msg = f"an opened scene is taken as it is, got {', '.join([*given, *opening])} beside it; leave that out"
            raise ArgumentError(msg)
        return source
    return open_scene(source, ms=ms, pan=pan, sensor=sensor, bands=bands, **opening)
