"""What a person must know of each index: its full name, ideal value, direction, unit, and what it is blind to.

For tables, pictures and the command line. Not a place for formulas. The convention that could surprise: no index is a
verdict alone, which is why each says what it does not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Index:
    """Facts about a quality index.

    Attributes
    ----------
    name
        Key in totals and datasets.
    title
        Name for people.
    ideal
        Value of a perfect image.
    direction
        ``"up"`` where more is better, ``"down"`` where less is.
    unit
        ``"degree"``, ``"DN"``, ``"dB"`` or empty.
    kind
        ``"reference"``: against a reference; ``"scale"``: at full resolution, against the pair; ``"consistency"``:
        brought back to the MS grid, against MS.
    caveat
        What it does not see.
    """

    name: str
    title: str
    ideal: float
    direction: Literal["up", "down"]
    unit: str
    kind: Literal["reference", "scale", "consistency"]
    caveat: str

    @property
    def meaning(self) -> str:
        """Unit and ideal in a few words."""
        ideal = "higher is better" if self.ideal == float("inf") else f"{self.ideal:g} is best"
        return f"{self.unit}{'s' if self.unit == 'degree' else ''}, {ideal}" if self.unit else ideal


_INF = float("inf")

_ALL = (
    Index("sam", "SAM", 0, "down", "degree", "reference", "blind to a gain of a pixel"),
    Index("ergas", "ERGAS", 0, "down", "", "reference", "depends on the ratio; ruined by means near zero"),
    Index("q2n", "Q2n", 1, "up", "", "reference", "blind to an inversion of all bands"),
    Index("q", "Q", 1, "up", "", "reference", "band by band, blind to colour"),
    Index("psnr", "PSNR", _INF, "up", "dB", "reference", "ruled by the brightest bands"),
    Index("rmse", "RMSE", 0, "down", "DN", "reference", "ruled by the brightest bands"),
    Index("cc", "CC", 1, "up", "", "reference", "blind to gain and offset"),
    Index("ssim", "SSIM", 1, "up", "", "reference", "depends on the peak value"),
    Index("scc_sobel", "SCC (Sobel)", 1, "up", "", "reference", "high for anything with edges in place"),
    Index("scc_laplacian", "SCC (Laplacian)", 1, "up", "", "reference", "blind to colour and to all smooth errors"),
    Index("d_lambda", "D_lambda", 0, "down", "", "scale", "0 for interpolated MS"),
    Index("d_s", "D_S", 0, "down", "", "scale", "depends on the alignment of PAN and MS"),
    Index("qnr", "QNR", 1, "up", "", "scale", "rewards images that change nothing"),
    Index("d_lambda_k", "D_lambda,K", 0, "down", "", "scale", "blind to detail that the MTF takes away"),
    Index("hqnr", "HQNR", 1, "up", "", "scale", "differences below 0.005 are noise"),
    Index("d_rho", "D_rho", 0, "down", "", "scale", "best for a copy of PAN in every band"),
    Index("r_sam", "R-SAM", 0, "down", "degree", "consistency", "blind to detail above the MS Nyquist frequency"),
    Index("r_ergas", "R-ERGAS", 0, "down", "", "consistency", "blind to detail above the MS Nyquist frequency"),
    Index("r_q2n", "R-Q2n", 1, "up", "", "consistency", "blind to detail above the MS Nyquist frequency"),
    Index("r_q", "R-Q", 1, "up", "", "consistency", "blind to detail above the MS Nyquist frequency"),
)

INDICES: Mapping[str, Index] = MappingProxyType({index.name: index for index in _ALL})
"""Every index of an assessment by name, in the order of tables."""
