"""What a page shows, as plain values: the record of an assessment, pictures and histograms.

Nothing here knows HTML. The convention that could surprise: a page has a size limit, and a record of thousands of
tiles for many methods may be too large for it; then the tiles of the compared methods are left out, and the page says
so. Totals are never left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ship_geo.report.histograms import Histogram, histograms_of
from ship_geo.report.judged import Judged
from ship_geo.report.pictures import MAX_SIDE, Quicklook, TilePicture, draw_quicklook, draw_tiles, painter_of

MAX_BYTES = 5_000_000
"""Size of a page at most; it must pass as an attachment of a mail."""

N_WORST = 6
"""Worst tiles that are shown."""

_RECORD_BYTES = 3_000_000
_FRAME_BYTES = 150_000  # page without pictures and record
_TELLING = ("q2n", "hqnr", "r_q2n")  # of which the worst tiles are shown, the first that there is


@dataclass(frozen=True)
class Sheet:
    """All that a page shows.

    Attributes
    ----------
    record
        See `Judged.record`.
    quicklook
        None where the pixels are not at hand.
    shown
        Names of the bands shown as red, green and blue.
    worst_index
        Of which the worst tiles are shown; empty where no index has tiles.
    worst
        The worst first.
    histograms
        One per band.
    pixel_size
        Metres (row, col) of an output pixel; None where the CRS does not tell.
    notes
        What the page leaves out.
    """

    record: Mapping[str, Any]
    quicklook: Quicklook | None
    shown: tuple[str, ...]
    worst_index: str
    worst: tuple[TilePicture, ...]
    histograms: tuple[Histogram, ...]
    pixel_size: tuple[float, float] | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, judged: Judged, max_bytes: int = MAX_BYTES) -> Sheet:
        """Draw what an assessment has; reads its pixels.

        Parameters
        ----------
        judged
            The assessment.
        max_bytes
            Size of the page that is to be made of it.
        """
        record, notes = _fit_record(judged.record(), min(_RECORD_BYTES, max_bytes // 2))
        roles, index = tuple(record["bands"]), _telling_index(record)
        pixels, tiles = judged.pixels, [] if not index else judged.worst_tiles(index, N_WORST)
        quicklook: Quicklook | None = None
        worst: tuple[TilePicture, ...] = ()
        shown: tuple[str, ...] = ()
        if pixels is not None:
            view = pixels.overview(MAX_SIDE)
            painter = painter_of(view, roles)
            worst = tuple(draw_tiles(pixels, tiles, painter))
            room = max_bytes - _FRAME_BYTES - len(as_json(record)) - _bytes_of(worst)
            quicklook = draw_quicklook(view, painter, pixels.shape, room)
            shown = tuple(roles[band] for band in painter.bands)
        return cls(
            record=record,
            quicklook=quicklook,
            shown=shown,
            worst_index=index if worst else "",
            worst=worst,
            histograms=histograms_of(judged.dataset),
            pixel_size=_pixel_size(judged.dataset, record),
            notes=notes,
        )


def as_json(value: Any) -> str:
    """Write values as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _fit_record(record: Mapping[str, Any], room: int) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Leave out the tiles of compared methods where the record is too large."""
    if "tiles" not in record or len(as_json(record)) <= room:
        return record, ()
    tiles, first = record["tiles"], record["methods"][0]
    smaller = {**record, "tiles": {**tiles, "values": {first: tiles["values"][first]}}}
    note = "The tile values of the compared methods are left out for the size of this page; the JSON output has them."
    return smaller, (note,)


def _telling_index(record: Mapping[str, Any]) -> str:
    values = record.get("tiles", {}).get("values", {}).get(record["methods"][0], {})
    known = [name for name, rows in values.items() if any(value is not None for row in rows for value in row)]
    return next((name for name in _TELLING if name in known), known[0] if known else "")


def _bytes_of(tiles: Sequence[TilePicture]) -> int:
    return sum(len(tile.ms) + len(tile.pan) + len(tile.fused) for tile in tiles)


def _pixel_size(dataset: Any, record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Metres of an output pixel; None for degrees and for pixels without a map."""
    crs = dataset.rio.crs
    if crs is None or not crs.is_projected:
        return None
    metres = crs.linear_units_factor[1]
    a, b, _, d, e, _ = record["scene"]["transform"][:6]
    return float(math.hypot(b, e) * metres), float(math.hypot(a, d) * metres)
