"""A pushbroom camera over a flat map, and the RPC model that a vendor would fit to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ship_geo.rpc import Rpc

LON, LAT = 15.0, 41.9
METRES_PER_DEGREE = np.array([82980.0, 111070.0])  # near 41.9 north; the map is exactly linear, by definition
ALTITUDE = 617e3
GROUND = 500.0  # mean height of the ground


class local_metres:  # noqa: N801 - a namespace
    """Metres east and north of (LON, LAT), and degrees."""

    @staticmethod
    def to_degrees(east, north):
        return LON + np.asarray(east) / METRES_PER_DEGREE[0], LAT + np.asarray(north) / METRES_PER_DEGREE[1]

    @staticmethod
    def from_degrees(lon, lat):
        return (np.asarray(lon) - LON) * METRES_PER_DEGREE[0], (np.asarray(lat) - LAT) * METRES_PER_DEGREE[1]


@dataclass(frozen=True)
class Camera:
    """Looks `off_nadir` degrees to the side and `along_track` radians ahead; flies `heading` degrees from south.

    The middle of the image shows (0, 0) at the mean height of the ground, with pixels of `pixel` metres.
    """

    shape: tuple[int, int]
    pixel: float
    off_nadir: float = 0.0
    along_track: float = 0.0
    heading: float = 0.0

    def see(self, east, north, height):
        """Row and column (pixel edges) of ground points in local metres."""
        turn, look = np.radians(self.heading), np.radians(self.off_nadir)
        across = np.cos(turn) * east + np.sin(turn) * north
        ahead = np.sin(turn) * east - np.cos(turn) * north
        below, mean = ALTITUDE - height, ALTITUDE - GROUND
        # The line is seen when the plane through the slit, tilted ahead, meets the point.
        row = (ahead - (below - mean) * np.tan(self.along_track)) / self.pixel
        angle = np.arctan2(across + mean * np.tan(look), below) - look
        col = np.tan(angle) * mean / np.cos(look) ** 2 / self.pixel
        return row + self.shape[0] / 2, col + self.shape[1] / 2


def fit_rpc(camera: Camera) -> Rpc:
    """Fit an RPC model to a camera by linear least squares over 300 to 700 m."""
    half_row, half_col = camera.shape[0] / 2, camera.shape[1] / 2
    reach = 0.75 * max(half_row, half_col) * camera.pixel * 1.4
    x, y, z = (part.ravel() for part in np.meshgrid(*[np.linspace(-1.0, 1.0, 9)] * 3))
    row, col = camera.see(x * reach, y * reach, GROUND + 200.0 * z)
    polynomials = {}
    for name, values in (("line", (row - half_row) / half_row), ("sample", (col - half_col) / half_col)):
        terms = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x, y * y, z * z, x * y * z, x**3,
                          x * y * y, x * z * z, x * x * y, y**3, y * z * z, x * x * z, y * y * z, z**3])  # fmt: skip
        columns = np.concatenate([terms, -values * terms[1:]])
        # A whiff of regularisation: numerator and denominator share factors.
        found = np.linalg.solve(columns @ columns.T + 1e-10 * np.eye(39), columns @ values)
        polynomials |= {f"{name}_num": tuple(found[:20]), f"{name}_den": (1.0, *found[20:])}
    degrees = reach / METRES_PER_DEGREE
    return Rpc(
        line_offset=half_row - 0.5, sample_offset=half_col - 0.5, lat_offset=LAT, long_offset=LON,
        height_offset=GROUND, line_scale=half_row, sample_scale=half_col, lat_scale=float(degrees[1]),
        long_scale=float(degrees[0]), height_scale=200.0,
        **{name: tuple(map(float, values)) for name, values in polynomials.items()},
    )  # fmt: skip
