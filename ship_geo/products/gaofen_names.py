"""Names of GaoFen deliveries: which files make one product, and which layers of it make a pair.

Names only, no file is opened. A layer is paired within its product and its camera, never across; what has no partner
becomes a candidate that says why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ship_geo.products.gaofen_metadata import Place
from ship_geo.products.product import Candidate

NAME = "gaofen"

_NAME = re.compile(
    r"(?P<base>(?P<satellite>GF\d[A-D]?|ZY\d+)_(?P<sensor>[A-Z]+\d?)_(?P<east>[EW])(?P<lon>\d+(?:\.\d+)?)"
    r"_(?P<north>[NS])(?P<lat>\d+(?:\.\d+)?)_(?P<date>\d{8})_(?P<level>L\d[A-Z]?)\d+)(?:-(?P<layer>[A-Z]+\d?))?"
    r"(?P<rest>(?:[._].*)?)$",
    re.IGNORECASE,
)
_PARTNERS: Mapping[str, tuple[str, ...]] = {
    "MSS": ("PAN",),
    "MSS1": ("PAN1",),
    "MSS2": ("PAN2",),
    "MUX": ("PAN", "NAD"),
    "BWDMUX": ("BWDPAN",),
}
_PAN_LAYERS = {pan: ms for ms, layers in _PARTNERS.items() for pan in reversed(layers)}
_KINDS = {".tif": "image", ".tiff": "image", ".xml": "xml", ".rpb": "rpb"}
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
PASS_PAIR = "or pass a pair with `ms=` and `pan=`"  # noqa: S105 (no password)


@dataclass(frozen=True)
class File:
    """A file of a tree whose name is of this family."""

    name: str
    kind: str  # image, xml, rpb, archive, preview, other
    layer: str  # "" without one
    fields: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Folder in the tree; "" for the root."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class LayerNames:
    """Names of the files of one layer."""

    layer: str
    image: str
    xml: str | None
    rpb: str | None


@dataclass(frozen=True)
class Plan:
    """A pair as its names tell of it."""

    ms: LayerNames
    pan: LayerNames
    base: str
    satellite: str
    sensor: str
    level: str
    date: str
    place: Place
    n_preview: int


def find_candidates(names: Iterable[str]) -> tuple[Candidate, ...]:
    """Return one candidate for each pair, and one with a problem for each image without a partner.

    Parameters
    ----------
    names
        Of the files of a tree. The `plan` of a candidate is a `Plan`.
    """
    files = [file for file in map(classify, names) if file is not None]
    return tuple(candidate for group in _groups(files) for candidate in _candidates(group))


def classify(name: str) -> File | None:
    """Return what the name of a file tells; None where it is not of this family."""
    found = _NAME.search(name.rpartition("/")[2])
    if found is None:
        return None
    fields = found.groupdict(default="")
    rest = fields["rest"].lower()
    if rest in _ARCHIVES:
        kind = "archive"
    elif rest.endswith((".jpg", ".jpeg")):
        kind = "preview"
    else:
        kind = _KINDS.get(rest, "other")
    return File(name, kind, fields["layer"].upper(), fields)


def _groups(files: Iterable[File]) -> list[list[File]]:
    """Group the files by product; a product that occurs in several folders makes one group for each of them."""
    products: dict[str, list[File]] = {}
    for file in files:
        products.setdefault(file.fields["base"].lower(), []).append(file)
    groups = []
    for product in products.values():
        images = Counter(file.layer for file in product if file.kind == "image")
        folders: dict[str, list[File]] = {}
        for file in product:
            folders.setdefault(file.folder if any(n > 1 for n in images.values()) else "", []).append(file)
        groups += list(folders.values())
    return groups


def _candidates(group: Sequence[File]) -> list[Candidate]:
    images = {file.layer: file for file in group if file.kind == "image"}
    pairs = [
        (ms, next(layer for layer in layers if layer in images))
        for ms, layers in _PARTNERS.items()
        if ms in images and any(layer in images for layer in layers)
    ]
    base = group[0].fields["base"]
    candidates = []
    for ms, pan in pairs:
        name = base if len(pairs) == 1 else f"{base}-{ms}"
        candidates.append(Candidate(name, NAME, _members(group, {ms, pan}), plan=_plan(group, ms, pan)))
    used = {layer for pair in pairs for layer in pair}
    for layer, image in images.items():
        if layer not in used:
            name = f"{base}-{layer}" if layer else base
            candidates.append(Candidate(name, NAME, _members(group, {layer}), _problem(image, images)))
    return candidates or _without_images(group, base)


def _members(group: Iterable[File], layers: set[str]) -> tuple[str, ...]:
    return tuple(file.name for file in group if file.layer in {*layers, ""} and file.kind != "archive")


def _plan(group: Sequence[File], ms: str, pan: str) -> Plan:
    names = {(file.layer, file.kind): file.name for file in group}
    fields = group[0].fields
    lat, lon = float(fields["lat"]), float(fields["lon"])
    place = Place(
        -lat if fields["north"].upper() == "S" else lat,
        -lon if fields["east"].upper() == "W" else lon,
        "the file name",
    )
    layers = [
        LayerNames(one, names[one, "image"], names.get((one, "xml")), names.get((one, "rpb"))) for one in (ms, pan)
    ]
    satellite, sensor = fields["satellite"].upper(), fields["sensor"].upper()
    n_preview = sum(file.kind == "preview" and file.layer in {ms, pan, ""} for file in group)
    level, date = fields["level"].upper(), fields["date"]
    return Plan(layers[0], layers[1], fields["base"], satellite, sensor, level, date, place, n_preview)


def _problem(image: File, images: Mapping[str, File]) -> str:
    """Why an image cannot be sharpened, as a whole message."""
    layer, sensor, satellite = image.layer, image.fields["sensor"].upper(), image.fields["satellite"].upper()
    got = f"a GaoFen product needs PAN and MS of one camera, got {image.name}"
    if sensor.startswith("WFV"):
        return f"{got}, and {sensor} of {satellite} records no PAN; pass a scene of a PMS camera"
    if layer == "FWDPAN":
        return f"{got}, and the forward camera records no MS; use the layers BWDMUX and BWDPAN of the same scene"
    partner = _PARTNERS[layer][0] if layer in _PARTNERS else _PAN_LAYERS.get(layer)
    if partner is None:
        what = f"layer {layer}" if layer else f"sensor {sensor} without a layer"
        known = ", ".join(f"{ms} with {' or '.join(pan)}" for ms, pan in _PARTNERS.items())
        return f"{got}, and {what} is not known to be either; known are {known}, {PASS_PAIR}"
    others = sorted(other for other in images if other and other != layer)
    beside = f" (beside {', '.join(others)}, which is not of its camera)" if others else ""
    return f"{got} without its partner {partner}{beside}; add {image.fields['base']}-{partner}.tiff, {PASS_PAIR}"


def _without_images(group: Sequence[File], base: str) -> list[Candidate]:
    kinds = {file.kind: file.name for file in group}
    if "archive" in kinds:
        problem = f"a GaoFen product must be a folder or an archive, got {kinds['archive']} inside one; pass it alone"
    elif kinds.keys() & {"xml", "rpb"}:
        problem = f"a GaoFen product needs its images, got {base} without a TIFF; fetch the delivery again"
    else:
        return []
    return [Candidate(base, NAME, tuple(file.name for file in group), problem)]
