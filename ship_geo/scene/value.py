"""The value that travels: layers, sensor and metadata of one PAN / MS pair, plain enough for JSON.

Not for finding files: see `ship_geo.scene.opening`. The convention that could surprise: rules of validity are per scene
and fixed at opening, so that every worker reads alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ship_geo.calibration import Calibration
from ship_geo.errors import ProductError
from ship_geo.grids import GridPair
from ship_geo.products.archives import Scratch
from ship_geo.products.layers import Layer
from ship_geo.products.product import Acquisition
from ship_geo.raster import local_file
from ship_geo.rpc import Rpc
from ship_geo.scene.describe import as_html, as_record, as_text
from ship_geo.sensors import Band, Sensor

if TYPE_CHECKING:
    from ship_geo.register import Shift


@dataclass(frozen=True)
class Scene:
    """A PAN / MS pair.

    Attributes
    ----------
    ms, pan
        The layers.
    sensor
        Sensor with exactly the MS bands of this scene, in their order.
    acquisition
        When and how it was taken, as far as the metadata tell.
    family
        Reader that opened it; ``"pair"`` and ``"stack"`` are files without a delivery around them.
    geometry
        ``"map"``: both layers lie on a map; ``"sensor"``: pixels of PAN, related through RPC models; ``"ortho"``:
        brought onto a map through RPC models; ``"pixel"``: no georeference at all.
    heights
        Which heights stand behind a geometry by RPC, with their datum; empty for the others.
    rpc
        RPC model in pixels of the PAN grid, where the geometry keeps it.
    calibration, uncalibrated
        DN of MS to physical values, or why there are no coefficients.
    tags
        Metadata of the files; where both have a key, that of MS.
    notes
        What was found or decided, for people.
    warnings
        What is odd.
    name
        Short name, from the files.
    shift
        Measured between PAN and MS; None where nobody has looked.
    is_registered
        Whether MS was to be brought onto PAN, and the shift may be believed: results then show the ground where PAN
        shows it.
    scratch
        Folder with what was unpacked of an archive; it lives as long as the scene does.
    """

    ms: Layer
    pan: Layer
    sensor: Sensor
    acquisition: Acquisition = field(default_factory=Acquisition)
    family: str = "pair"
    geometry: str = "map"
    heights: str = ""
    rpc: Rpc | None = None
    calibration: Calibration | None = None
    uncalibrated: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    name: str = "scene"
    shift: Shift | None = None
    is_registered: bool = False
    scratch: Scratch | None = field(default=None, compare=False, repr=False)

    @cached_property
    def pair(self) -> GridPair:
        """The relation of the two grids."""
        return GridPair.from_grids(self.ms.grid, self.pan.grid)

    @property
    def time(self) -> str | None:
        """Time of acquisition of MS, ISO 8601; None where it is not known."""
        return self.acquisition.time

    @property
    def output_rpc(self) -> Rpc | None:
        """RPC model in pixels of the output grid; None where there is none."""
        row0, _, col0, _ = self.pair.overlap
        return None if self.rpc is None else self.rpc.shifted(row0, col0)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of all rasters, each once, MS first."""
        return tuple(dict.fromkeys((*self.ms.paths, *self.pan.paths)))

    @property
    def files(self) -> tuple[str, ...]:
        """Files on local disks that must not be touched: the rasters, or the archives that hold them."""
        return tuple(dict.fromkeys(str(local_file(path) or path) for path in self.paths))

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of names, sizes and times of the files and of how they are read.

        Equal on every machine that sees the same files; files elsewhere than on a local disk count by name only.
        """
        facts = [_fingerprint(path) for path in self.paths]
        plan = self.to_dict()
        for layer in (plan["ms"], plan["pan"]):
            layer["files"] = [[Path(path).name, band] for path, band in layer["files"]]
            layer["tiles"] = [[Path(path).name, *place] for path, *place in layer["tiles"]]
        return hashlib.sha256(json.dumps([facts, plan["ms"], plan["pan"]], sort_keys=True).encode()).hexdigest()

    def describe(self) -> str:
        """Return what was found, as lines of text for a person."""
        return as_text(self)

    def record(self) -> dict[str, Any]:
        """Return what was found, as values for JSON; see `ship_geo.scene.describe.as_record` for their units."""
        return as_record(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the scene as values that JSON can hold; `from_dict` is the inverse. The scratch folder stays here."""
        return {
            "ms": self.ms.to_dict(),
            "pan": self.pan.to_dict(),
            "sensor": asdict(self.sensor),
            "acquisition": asdict(self.acquisition),
            "rpc": None if self.rpc is None else self.rpc.to_dict(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "shift": None if self.shift is None else asdict(self.shift),
            "tags": dict(self.tags),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Scene:
        """Return the scene that `to_dict` wrote; no file is opened."""
        return cls(
            ms=Layer.from_dict(plan["ms"]),
            pan=Layer.from_dict(plan["pan"]),
            sensor=_sensor_from_dict(plan["sensor"]),
            acquisition=Acquisition(**plan["acquisition"]),
            rpc=None if plan["rpc"] is None else Rpc.from_dict(plan["rpc"]),
            calibration=None if plan["calibration"] is None else Calibration.from_dict(plan["calibration"]),
            shift=None if plan["shift"] is None else _shift_from_dict(plan["shift"]),
            tags=dict(plan["tags"]),
            notes=tuple(plan["notes"]),
            warnings=tuple(plan["warnings"]),
            **{name: plan[name] for name in _PLAIN},
        )


_PLAIN = ("family", "geometry", "heights", "uncalibrated", "name", "is_registered")


def _fingerprint(path: str) -> list[Any]:
    file = local_file(path)
    if file is None:
        return [path]
    try:
        facts = file.stat()
    except OSError as error:
        msg = f"the files of a scene must stay where they are, got {path} ({error.strerror}); open the scene again"
        raise ProductError(msg) from error
    return [Path(path).name, facts.st_size, facts.st_mtime_ns]


def _shift_from_dict(plan: Mapping[str, Any]) -> Shift:
    from ship_geo.register import Shift  # loads torch, which opening a scene does not need

    return Shift(**{**plan, "per_band": tuple(tuple(band) for band in plan["per_band"])})


def _sensor_from_dict(plan: Mapping[str, Any]) -> Sensor:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plan.items()}
    fields["bands"] = tuple(
        Band(**{**band, "wavelength": None if band["wavelength"] is None else tuple(band["wavelength"])})
        for band in plan["bands"]
    )
    return Sensor(**fields)
