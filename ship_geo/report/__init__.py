"""One HTML file that shows a person how good a sharpened scene is: pictures, indices, tiles, histograms, provenance.

The page opens offline from any disk or mail: it asks for nothing, which its own content security policy enforces. All
numbers come from one JSON in it, which is what `Assessment.to_json` writes. Not for judging, see
`ship_geo.assessment`; an assessment comes in by its methods, see `Judged`, so that this package stays beside it. The
convention that could surprise: before and after share one stretch, so that colours can be compared, but a picture of
a tile is brightened for itself.
"""

from __future__ import annotations

from ship_geo.report.files import check_report, write_report
from ship_geo.report.judged import Judged, Pixels, View
from ship_geo.report.sheet import Sheet

__all__ = ["Judged", "Pixels", "Sheet", "View", "check_report", "write_report"]
