"""The xarray accessor ``.ship_geo``: sharpening and judging in the words of xarray.

``import ship_geo.accessor`` adds it to every DataArray and Dataset; so does the first use of a function of
`ship_geo.api`, as `ship_geo.pansharpen`. ``import ship_geo`` alone does not, as it loads neither xarray nor anything
else. Not a place for computing: the accessor hands its object to the functions for arrays. The convention that could
surprise: it belongs to MS when an image is sharpened, and to the sharpened image when that is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import xarray as xr

from ship_geo._typing import PathLike

if TYPE_CHECKING:
    from ship_geo.assessment import Assessment
    from ship_geo.sensors import Sensor

__all__ = ["ShipGeoAccessor"]

Raster = xr.DataArray | xr.Dataset


@xr.register_dataset_accessor("ship_geo")  # type: ignore[no-untyped-call]
@xr.register_dataarray_accessor("ship_geo")  # type: ignore[no-untyped-call]
class ShipGeoAccessor:
    """What ``array.ship_geo`` and ``dataset.ship_geo`` offer.

    Parameters
    ----------
    image
        The object that the accessor was asked of.

    Examples
    --------
    >>> import ship_geo.accessor  # doctest: +SKIP
    >>> fused = ms.ship_geo.pansharpen(pan, sensor="WorldView-2")  # doctest: +SKIP
    >>> fused.ship_geo.quality(ms=ms, pan=pan)  # doctest: +SKIP
    """

    def __init__(self, image: Raster) -> None:
        self._image = image

    def pansharpen(
        self,
        pan: Raster,
        *,
        sensor: str | Sensor | None = None,
        bands: Sequence[str] | None = None,
        model: Any = "auto",
        device: str = "auto",
        precision: str = "auto",
        chunks: int | tuple[int, int] | str | None = "auto",
    ) -> xr.DataArray:
        """Sharpen this MS image with a PAN image; lazy, also where the images are not.

        Parameters
        ----------
        pan
            The panchromatic image.
        sensor, bands, model, device, precision, chunks
            As in `ship_geo.pansharpen`, which is called with this image for MS.

        Returns
        -------
        xarray.DataArray
            Dims ("band", "y", "x") on the grid of PAN, with its coordinates. ``.to_dataset("band")`` makes a Dataset
            of it again.

        Raises
        ------
        ArgumentError
            When an argument cannot work; `GridError` when the grids do not fit each other.
        """
        from ship_geo.arrays import sharpen_arrays  # loads torch

        return sharpen_arrays(
            self._image,
            pan,
            sensor=sensor,
            bands=bands,
            model=model,
            device=device,
            precision=precision,
            chunks=chunks,
        )

    def assess(
        self,
        *,
        ms: Raster | PathLike | Sequence[PathLike],
        pan: Raster | PathLike,
        ref: Raster | PathLike | None = None,
        **arguments: Any,
    ) -> Assessment:
        """Judge this sharpened image per tile, per band and in total; computes it block by block.

        Parameters
        ----------
        ms, pan
            The pair that it was made from: both arrays, or both files.
        ref
            A reference on the grid of this image, where one exists.
        **arguments
            As in `ship_geo.assess`: ``sensor``, ``bands``, ``baselines``, ``tile``, ``border``, ``peak``.

        Returns
        -------
        Assessment
            See `ship_geo.assess`.

        Raises
        ------
        ArgumentError
            When this image is not on the output grid of the pair.
        """
        from ship_geo.assessment import Options, assess_images  # loads torch

        names = {field.name for field in fields(Options)} & arguments.keys()
        options = Options(**{name: arguments.pop(name) for name in names})
        return assess_images(self._image, ms=ms, pan=pan, ref=ref, options=options, **arguments)

    def quality(self, *, ms: Any, pan: Any, ref: Any = None, **arguments: Any) -> dict[str, float]:
        """Judge this sharpened image by its totals alone; see `assess` and `ship_geo.quality`."""
        return self.assess(ms=ms, pan=pan, ref=ref, **arguments).totals
