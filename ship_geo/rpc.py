"""Rational polynomial camera models (RPC00B): ground to image, image to ground, models of crops and coarser images.

For images in sensor geometry, whose only link to the ground is such a model. Not for reading the vendors' files (that
is `ship_geo.products`) and not for planning grids (`ship_geo.geometry`). Two conventions could surprise. An offset is
stored as GDAL stores it, ``line_offset = 32`` is the *centre* of row 32 counted from 0, while `Rpc.project` and
`Rpc.locate` speak of pixel edges like every grid here: that centre is 32.5. And heights are above the ellipsoid
(WGS 84), not above the sea: the two differ by up to 100 m.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from ship_geo.errors import ArgumentError, GridError, ProductError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ship_geo._typing import RowCol

    Numbers: TypeAlias = npt.ArrayLike
    Floats: TypeAlias = npt.NDArray[np.float64]

N_TERM = 20
"""Coefficients of one polynomial."""

_TAGS = {
    "line_offset": "LINE_OFF",
    "sample_offset": "SAMP_OFF",
    "lat_offset": "LAT_OFF",
    "long_offset": "LONG_OFF",
    "height_offset": "HEIGHT_OFF",
    "line_scale": "LINE_SCALE",
    "sample_scale": "SAMP_SCALE",
    "lat_scale": "LAT_SCALE",
    "long_scale": "LONG_SCALE",
    "height_scale": "HEIGHT_SCALE",
    "line_num": "LINE_NUM_COEFF",
    "line_den": "LINE_DEN_COEFF",
    "sample_num": "SAMP_NUM_COEFF",
    "sample_den": "SAMP_DEN_COEFF",
    "err_bias": "ERR_BIAS",
    "err_rand": "ERR_RAND",
}
_POLYNOMIALS = ("line_num", "line_den", "sample_num", "sample_den")
_SCALES = ("line_scale", "sample_scale", "lat_scale", "long_scale", "height_scale")
_ERRORS = ("err_bias", "err_rand")
_MOST_STEPS = 30  # Newton needs three to six inside the image
_STEP_TOLERANCE = 1e-9  # degrees; steps shrink quadratically, the error left is far below


@dataclass(frozen=True)
class Rpc:
    """A camera model: row and column as ratios of cubic polynomials of longitude, latitude and height.

    With L, P and H the longitude, latitude and height less their offset and divided by their scale,
    ``row = line_num(L, P, H) / line_den(L, P, H) * line_scale + line_offset + 0.5``, columns likewise.

    Parameters
    ----------
    line_offset, sample_offset
        Row and column where the model is centred, as the index of a pixel centre counted from 0.
    lat_offset, long_offset, height_offset
        Ground point where the model is centred; degrees, degrees, metres above the ellipsoid.
    line_scale, sample_scale, lat_scale, long_scale, height_scale
        Half ranges of the above.
    line_num, line_den, sample_num, sample_den
        20 coefficients each in the order of RPC00B: 1, L, P, H, LP, LH, PH, LL, PP, HH, PLH, LLL, LPP, LHH, LLP, PPP,
        PHH, LLH, PPH, HHH.
    err_bias, err_rand
        Errors the vendor states, metres; None where he states none.

    Raises
    ------
    GridError
        When a number is not finite, a scale is zero, a polynomial has not 20 coefficients or a denominator is zero.

    References
    ----------
    STDI-0002, The Compendium of Controlled Extensions for NITF, appendix E (RPC00B).
    """

    line_offset: float
    sample_offset: float
    lat_offset: float
    long_offset: float
    height_offset: float
    line_scale: float
    sample_scale: float
    lat_scale: float
    long_scale: float
    height_scale: float
    line_num: tuple[float, ...]
    line_den: tuple[float, ...]
    sample_num: tuple[float, ...]
    sample_den: tuple[float, ...]
    err_bias: float | None = None
    err_rand: float | None = None

    def __post_init__(self) -> None:
        for name in _POLYNOMIALS:
            _check_polynomial(name, getattr(self, name))
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in _POLYNOMIALS and value is not None and not math.isfinite(value):
                msg = (
                    f"a number of an RPC must be finite, got {item.name} {value}; take the model from the vendor's file"
                )
                raise GridError(msg)
        for name in _SCALES:
            if getattr(self, name) == 0:
                msg = f"a scale of an RPC must not be zero, got {name} 0; take the model from the vendor's file"
                raise GridError(msg)

    def project(self, lon: Numbers, lat: Numbers, height: Numbers) -> tuple[Floats, Floats]:
        """Return where ground points lie in the image.

        Parameters
        ----------
        lon, lat, height
            Degrees, degrees, metres above the ellipsoid; broadcast against each other.

        Returns
        -------
        row, col
            Edge coordinates: the centre of pixel (0, 0) is (0.5, 0.5). NaN where the input is.
        """
        terms = _terms(*self._normalise(lon, lat, height))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            row, col = _ratios(self._coefficients(), terms)
        return self._to_edges(row, col)

    def locate(self, row: Numbers, col: Numbers, height: Numbers) -> tuple[Floats, Floats]:
        """Return the ground points that image positions show at given heights: `project` solved by Newton's method.

        Parameters
        ----------
        row, col
            Edge coordinates; they may lie outside the image.
        height
            Metres above the ellipsoid; broadcast.

        Returns
        -------
        lon, lat
            Degrees; longitudes go on beyond 180 where an image crosses that meridian. NaN where the method does not
            settle to 1e-9 degree: far outside the image, where the polynomials mean nothing.
        """
        row, col, height = np.broadcast_arrays(*(np.asarray(part, np.float64) for part in (row, col, height)))
        target = np.stack(
            [
                (row - 0.5 - self.line_offset) / self.line_scale,
                (col - 0.5 - self.sample_offset) / self.sample_scale,
            ]
        )
        x, y, is_settled = self._solve(target, (height - self.height_offset) / self.height_scale)
        lon, lat = self.long_offset + self.long_scale * x, self.lat_offset + self.lat_scale * y
        return np.where(is_settled, lon, np.nan), np.where(is_settled, lat, np.nan)

    def shifted(self, row0: float, col0: float) -> Rpc:
        """Return the model of the crop whose pixel (0, 0) is pixel (row0, col0) of this image."""
        return replace(self, line_offset=self.line_offset - row0, sample_offset=self.sample_offset - col0)

    def scaled(self, ratio: RowCol) -> Rpc:
        """Return the model of the image with the same outer corner whose pixels are `ratio` (row, col) times larger.

        Raises
        ------
        ArgumentError
            When a ratio is not positive.
        """
        down, across = ratio
        if not (0 < down < math.inf and 0 < across < math.inf):
            msg = f"a ratio of pixel sizes must be positive, got {ratio}; 4 means pixels four times larger"
            raise ArgumentError(msg)
        return replace(
            self,
            line_offset=(self.line_offset + 0.5) / down - 0.5,
            sample_offset=(self.sample_offset + 0.5) / across - 0.5,
            line_scale=self.line_scale / down,
            sample_scale=self.sample_scale / across,
        )

    def to_tags(self) -> dict[str, str]:
        """Return the model as the items of GDAL's metadata domain ``RPC``; every digit is kept."""
        tags = {}
        for name, tag in _TAGS.items():
            value = getattr(self, name)
            if value is not None:
                numbers = value if isinstance(value, tuple) else (value,)
                tags[tag] = " ".join(repr(float(number)) for number in numbers)
        return tags

    @classmethod
    def from_tags(cls, tags: Mapping[str, str], *, source: str = "the RPC tags") -> Self:
        """Read the model from the items of GDAL's metadata domain ``RPC``; units after numbers are ignored.

        Parameters
        ----------
        tags
            Item names to texts, as ``dataset.tags(ns="RPC")`` gives them.
        source
            File they come from, for messages.

        Raises
        ------
        ProductError
            When an item is missing or makes no sense.
        """
        values: dict[str, Any] = {}
        for name, tag in _TAGS.items():
            text = tags.get(tag)
            if text is None and name not in _ERRORS:
                msg = f"an RPC must have {tag}, got none in {source}; copy or download the model again"
                raise ProductError(msg)
            if text is not None:
                numbers = _read_numbers(tag, text, source)
                if name in _ERRORS and numbers[0] < 0:
                    continue  # GDAL writes -1 where an error is not known
                values[name] = tuple(numbers) if name in _POLYNOMIALS else numbers[0]
        return cls._build(values, source)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain numbers and lists, ready for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises
        ------
        ProductError
            When a key is missing, unknown or makes no sense.
        """
        known = {item.name for item in fields(cls)}
        wrong = sorted((known - set(values) - set(_ERRORS)) | (set(values) - known))
        if wrong:
            msg = (
                f"a stored RPC must have the numbers of Rpc, got missing or unknown {', '.join(wrong)}; store it again"
            )
            raise ProductError(msg)
        held = {key: _plain(value) for key, value in values.items()}
        return cls._build(held, "the stored RPC")

    @classmethod
    def _build(cls, values: Mapping[str, Any], source: str) -> Self:
        try:
            return cls(**values)
        except (GridError, TypeError) as error:
            msg = f"an RPC must be complete and finite, got {source} ({error}); copy or download the model again"
            raise ProductError(msg) from error

    def _coefficients(self) -> Floats:
        return np.array([self.line_num, self.line_den, self.sample_num, self.sample_den], np.float64)

    def _normalise(self, lon: Numbers, lat: Numbers, height: Numbers) -> tuple[Floats, Floats, Floats]:
        # Across the 180th meridian 179.9 and -179.9 are neighbours.
        east = (np.asarray(lon, np.float64) - self.long_offset + 180.0) % 360.0 - 180.0
        north = np.asarray(lat, np.float64) - self.lat_offset
        up = np.asarray(height, np.float64) - self.height_offset
        x, y, z = np.broadcast_arrays(east / self.long_scale, north / self.lat_scale, up / self.height_scale)
        return x, y, z

    def _to_edges(self, row: Floats, col: Floats) -> tuple[Floats, Floats]:
        return (
            row * self.line_scale + self.line_offset + 0.5,
            col * self.sample_scale + self.sample_offset + 0.5,
        )

    def _solve(self, target: Floats, z: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        # Newton from the centre of the model, on all points until the last one settles.
        coefficients = self._coefficients()
        x, y = np.zeros_like(z), np.zeros_like(z)
        is_settled = np.zeros(z.shape, np.bool_)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(_MOST_STEPS):
                step_x, step_y = _newton_step(coefficients, target, x, y, z)
                x, y = x - step_x, y - step_y
                size = np.maximum(np.abs(step_x * self.long_scale), np.abs(step_y * self.lat_scale))
                is_settled = size <= _STEP_TOLERANCE  # False for NaN
                if np.all(is_settled | np.isnan(size)):
                    break
        return x, y, is_settled


def _terms(x: Floats, y: Floats, z: Floats) -> Floats:
    # (20, ...) monomials of longitude x, latitude y, height z.
    xx, yy, zz = x * x, y * y, z * z
    # fmt: off
    return np.stack([
        np.ones_like(x), x, y, z, x * y, x * z, y * z, xx, yy, zz,
        x * y * z, xx * x, x * yy, x * zz, xx * y, yy * y, y * zz, xx * z, yy * z, zz * z,
    ])
    # fmt: on


def _slopes(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
    # Derivatives of `_terms` by longitude and by latitude.
    none, one = np.zeros_like(x), np.ones_like(x)
    xx, yy, zz, xy = x * x, y * y, z * z, x * y
    # fmt: off
    by_x = np.stack([
        none, one, none, none, y, z, none, 2 * x, none, none,
        y * z, 3 * xx, yy, zz, 2 * xy, none, none, 2 * x * z, none, none,
    ])
    by_y = np.stack([
        none, none, one, none, x, none, z, none, 2 * y, none,
        x * z, none, 2 * xy, none, xx, 3 * yy, zz, none, 2 * y * z, none,
    ])
    # fmt: on
    return by_x, by_y


def _ratios(coefficients: Floats, terms: Floats) -> tuple[Floats, Floats]:
    line_num, line_den, sample_num, sample_den = np.tensordot(coefficients, terms, axes=1)
    return line_num / line_den, sample_num / sample_den


def _newton_step(coefficients: Floats, target: Floats, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
    num_row, den_row, num_col, den_col = np.tensordot(coefficients, _terms(x, y, z), axes=1)
    by_x, by_y = _slopes(x, y, z)
    row, col = num_row / den_row, num_col / den_col
    slope_x, slope_y = np.tensordot(coefficients, by_x, axes=1), np.tensordot(coefficients, by_y, axes=1)
    row_x, row_y = ((slope[0] - row * slope[1]) / den_row for slope in (slope_x, slope_y))
    col_x, col_y = ((slope[2] - col * slope[3]) / den_col for slope in (slope_x, slope_y))
    miss_row, miss_col = row - target[0], col - target[1]
    determinant = row_x * col_y - row_y * col_x
    return (
        (col_y * miss_row - row_y * miss_col) / determinant,
        (row_x * miss_col - col_x * miss_row) / determinant,
    )


def _check_polynomial(name: str, values: Sequence[float]) -> None:
    if len(values) != N_TERM:
        msg = (
            f"a polynomial of an RPC must have {N_TERM} coefficients, got {len(values)} in {name}; take the model from "
            "the vendor's file"
        )
        raise GridError(msg)
    if not all(map(math.isfinite, values)):
        msg = f"coefficients of an RPC must be finite, got {name} {values}; take the model from the vendor's file"
        raise GridError(msg)
    if name.endswith("_den") and not any(values):
        msg = (
            f"a denominator of an RPC must not be zero, got {name} 0 everywhere; take the model from the vendor's file"
        )
        raise GridError(msg)


def _read_numbers(tag: str, text: str, source: str) -> list[float]:
    words = text.replace(",", " ").split()
    try:
        # A single number may have its unit behind it: "16 pixels".
        return [float(word) for word in (words if tag.endswith("_COEFF") else words[:1] or [text])]
    except ValueError as error:
        msg = f"an item of an RPC must be numbers, got {tag} {text!r} in {source}; copy or download the model again"
        raise ProductError(msg) from error


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
