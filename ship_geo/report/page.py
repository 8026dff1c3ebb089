"""From a sheet to the text of a page: one HTML file with its style, its script and its data.

Text of users gets into the page in two ways only: escaped into the title, and as JSON which cannot end its element;
the script shows it as text and never as HTML. The page's content security policy lets nothing in from outside, and
runs no script but its own, which it knows by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import asdict
from importlib import resources
from string import Template
from typing import Any

from ship_geo.provenance import software_version
from ship_geo.report.sheet import Sheet, as_json

_SCRIPTS = ("text.js", "tables.js", "charts.js", "viewer.js", "page.js")

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def fill_page(sheet: Sheet) -> str:
    """Return the page as text.

    Parameters
    ----------
    sheet
        What it shows.
    """
    style, script = _asset("page.css"), "".join(_asset(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"{sheet.record['scene'].get('name') or 'scene'}: quality report"),
        version=html.escape(software_version()),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        assessment=embed(sheet.record),
        sheet=embed(_extras(sheet)),
        **_pictures(sheet),
    )


def embed(value: Any) -> str:
    """Write JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    return as_json(value).translate(_ESCAPES)


def _extras(sheet: Sheet) -> dict[str, Any]:
    """Return what the script must know beside the record; pictures themselves stand in the page."""
    look = sheet.quicklook
    return {
        "quicklook": None
        if look is None
        else {"width": look.width, "height": look.height, "step": list(look.step), "hasMask": bool(look.mask)},
        "shown": list(sheet.shown),
        "worstIndex": sheet.worst_index,
        "worst": [{"row": tile.row, "col": tile.col, "box": list(tile.box)} for tile in sheet.worst],
        "histograms": [asdict(histogram) for histogram in sheet.histograms],
        "pixelSize": sheet.pixel_size,
        "notes": list(sheet.notes),
    }


def _pictures(sheet: Sheet) -> dict[str, str]:
    look = sheet.quicklook
    if look is None:
        return {"quicklook": "", "worst": ""}
    size = f'width="{look.width}" height="{look.height}" draggable="false"'
    layers = [
        f'<div class="layer" data-layer="{name}"><img {size} src="{source}" alt="{alt}"></div>'
        for name, source, alt in (
            ("ms", look.ms, "Multispectral image, interpolated to the PAN grid"),
            ("pan", look.pan, "Panchromatic image"),
            ("fused", look.fused, "Sharpened image"),
        )
    ]
    if look.mask:
        layers.append(
            f'<div class="layer" data-layer="mask"><img {size} src="{look.mask}" alt="Pixels without data"></div>'
        )
    return {"quicklook": "\n".join(layers), "worst": "\n".join(_worst_figures(sheet))}


def _worst_figures(sheet: Sheet) -> list[str]:
    return [
        '<figure class="worst"><div class="triple">'
        f'<div><img src="{tile.ms}" alt="Multispectral, tile {number}"><span>MS</span></div>'
        f'<div><img src="{tile.pan}" alt="Panchromatic, tile {number}"><span>PAN</span></div>'
        f'<div><img src="{tile.fused}" alt="Sharpened, tile {number}"><span>Sharpened</span></div>'
        "</div><figcaption></figcaption></figure>"
        for number, tile in enumerate(sheet.worst, start=1)
    ]


def _asset(name: str) -> str:
    return resources.files("ship_geo.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
