"""Pairs to measure models on, from whatever they come in; for `evaluate.py`.

- A folder with ``meta.json`` and ``.npz`` files of ``pan`` (row, col), ``ms`` (band, row, col) and, where the pair was
  degraded already, ``ref``; ``meta.json`` gives sensor, bits and the PAN offset of each.
- ``.h5`` files in the layout of PanCollection: ``ms`` and ``pan`` (tile, band, row, col) and, at reduced resolution,
  ``gt``. Its ``lms`` is not read: MS is interpolated here. A degraded MS pixel lies on PAN pixel 2 of each 4 there.
- Anything that `ship_geo.open_scene` opens, or a folder of such.
- A pack of chips, of which pairs are simulated.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import click
import numpy as np
import torch
from affine import Affine

from ship_geo import find_scenes, open_scene
from ship_geo.data.chips import ChipPack
from ship_geo.data.reader import ArrayPairReader, FilePairReader
from ship_geo.degrade import degrade_pair
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.grids import Grid, GridPair
from ship_geo.ops.resample import degrade
from ship_geo.scene import Scene
from ship_geo.sensors import Sensor, find_sensor

SENSORS = {"QB": "QuickBird-2", "GE1": "GeoEye-1", "GF2": "GaoFen-2", "Spot6": "SPOT-6", "WV2/WV3?": "WorldView-2"}
"""Names that are no platform ids."""

RATIO = (4.0, 4.0)
"""Of what comes without georeference."""

MAX_PIXELS = 40_000_000
"""PAN pixels of a pair: indices hold several float64 copies of every band."""


@dataclass(frozen=True, eq=False)
class Case:
    """A pair in memory.

    Attributes
    ----------
    name, group
        Of the pair, and of what it belongs to.
    ms, pan
        (band, row, col) and (row, col), DN.
    ratio, phase
        (row, col) as in `ship_geo.ops.resample`.
    sensor, bits
        With the bands of `ms`; values are cut to the bits where the scene keeps to them.
    ref
        (band, row, col) on the PAN grid, DN; None where there is none.
    ms_valid, pan_valid, ref_valid
        (row, col) bool; None: all of them.
    simulated
        Whether it is made of other imagery, so that full resolution means nothing.
    """

    name: str
    group: str
    ms: np.ndarray
    pan: np.ndarray
    ratio: tuple[float, float]
    phase: tuple[float, float]
    sensor: Sensor
    bits: int
    ref: np.ndarray | None = None
    ms_valid: np.ndarray | None = None
    pan_valid: np.ndarray | None = None
    ref_valid: np.ndarray | None = None
    simulated: bool = False

    def __post_init__(self) -> None:
        """Refuse arrays that are no pair."""
        n_band, parts = len(self.sensor.roles), [self.ms, self.pan, *([] if self.ref is None else [self.ref])]
        is_pair = self.ms.shape[:-2] == (n_band,) and all(part.size and part.dtype.kind in "iuf" for part in parts)
        is_pair &= self.pan.ndim == 2 and all(part.shape == (n_band, *self.pan.shape) for part in parts[2:])  # noqa: PLR2004
        if not is_pair:
            told = ", ".join(f"{part.shape} {part.dtype}" for part in parts)
            msg = (
                f"a pair has numbers in ms (band, row, col), here of {n_band} bands, in pan (row, col), and perhaps in "
                f"ref on the grid of pan, got {told} in {self.name}; correct it"
            )
            raise ProductError(msg)

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels, and of how they lie on each other."""
        known = hashlib.sha256(f"{self.ratio}{self.phase}{self.sensor.gnyq_ms}".encode())
        for part in (self.ms, self.pan, self.ref, self.ms_valid, self.pan_valid):
            known.update(b"" if part is None else f"{part.dtype}{part.shape}".encode() + part.tobytes())
        return known.hexdigest()

    @property
    def reader(self) -> ArrayPairReader:
        """Reads the pair; grids have the PAN pixel as the unit."""
        (row, col), (step_row, step_col) = self.phase, self.ratio
        pan = Grid(self.pan.shape, Affine(1, 0, 0, 0, -1, 0))
        ms = Grid(self.ms.shape[1:], Affine(step_col, 0, col, 0, -step_row, -row))
        pair = GridPair.from_grids(ms, pan)
        return ArrayPairReader(self.ms, self.pan, pair=pair, ms_valid=self.ms_valid, pan_valid=self.pan_valid)

    def reduced(self) -> Case:
        """Return the pair with a reference: itself, or degraded once more by Wald's protocol."""
        if self.ref is not None:
            return self
        made = degrade_pair(
            self.ms,
            self.pan[None],
            ratio=self.ratio,
            phase=self.phase,
            gnyq_ms=self.sensor.gnyq_ms,
            gnyq_pan=self.sensor.gnyq_pan,
            ms_valid=self.ms_valid,
            pan_valid=self.pan_valid,
        )
        return replace(
            self,
            ms=self._recorded(made.ms_lr, self.ms.dtype),
            pan=self._recorded(made.pan_lr[0], self.pan.dtype),
            phase=made.phase,
            ref=made.ref.numpy(),
            ms_valid=made.ms_lr_valid.numpy(),
            pan_valid=made.pan_lr_valid.numpy(),
            ref_valid=made.ref_valid.numpy(),
        )

    def _recorded(self, values: torch.Tensor, dtype: np.dtype[Any]) -> np.ndarray:
        """Round as a sensor does; bicubic PAN overshoots at edges, and would wrap round in the cast."""
        if dtype.kind == "f":
            return values.numpy()
        top = min(2.0**self.bits - 1, np.iinfo(dtype).max)
        return values.round().clamp(0, top).numpy().astype(dtype)


def read_cases(source: Path, sensor: str | None = None) -> Iterator[Case]:
    """Read every pair of a source.

    Raises
    ------
    ShipGeoError
        When something cannot be opened, or there is no pair.
    """
    n_case = 0
    for n_case, case in enumerate(_cases_of(source, sensor), 1):  # noqa: B007  counted
        yield case
    if not n_case:
        msg = f"a source holds pairs, got none in {source}; pass scenes, .h5 files or a folder with meta.json"
        raise ProductError(msg)


def _cases_of(source: Path, sensor: str | None) -> Iterator[Case]:
    if source.suffix == ".h5":
        yield from _from_h5(source, sensor)
    elif (source / "meta.json").is_file():
        yield from _from_arrays(source)
    elif source.is_dir() and sorted(source.glob("*.h5")):
        for path in sorted(source.glob("*.h5")):
            yield from _from_h5(path, sensor)
    elif source.is_dir():
        yield from _from_folder(source, sensor)
    else:
        yield _of_scene(open_scene(source, sensor=sensor))


def _from_folder(folder: Path, sensor: str | None) -> Iterator[Case]:
    found = find_scenes(folder)
    for row in found.itertuples():
        if row.problem:
            click.echo(f"left out {row.name}: {row.problem}", err=True)
            continue
        yield _of_scene(open_scene(row.source, product=row.name, sensor=sensor))


def _of_scene(scene: Scene) -> Case:
    rows, cols = scene.pair.output.shape
    if rows * cols > MAX_PIXELS:
        msg = f"a scene is measured in memory, at most {MAX_PIXELS} pixels, got {rows} x {cols}; crop it"
        raise ArgumentError(msg)
    reader = FilePairReader(scene)
    try:
        pair = reader.read(0, rows, 0, cols, margin=0)
    finally:
        reader.close()
    return Case(
        scene.name,
        scene.name,
        pair.ms,
        pair.pan[0],
        pair.ratio,
        pair.phase,
        scene.sensor,
        scene.sensor.bits,
        ms_valid=pair.ms_valid,
        pan_valid=pair.pan_valid,
    )


def _from_arrays(folder: Path) -> Iterator[Case]:
    path = folder / "meta.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ProductError(_no_arrays(path, error)) from error
    if not isinstance(known, dict):
        raise ProductError(_no_arrays(path, known))
    for name, meta in known.items():
        yield _of_arrays(folder, name, meta)


def _of_arrays(folder: Path, name: str, meta: Any) -> Case:
    path = folder / f"{name}.npz"
    try:
        with np.load(path) as arrays:
            held = {key: arrays[key] for key in arrays}
        row, col = map(float, meta["pan_offset_px"])
        sensor, bits = _sensor_of(meta["sensor"], len(held["ms"])), int(meta["bits"])
        case = Case(name, folder.name, held["ms"], held["pan"], RATIO, (row, col), sensor, bits)
    except (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, BadZipFile, zlib.error) as error:
        raise ProductError(_no_arrays(path, error)) from error
    return _with_reference(case, held["ref"]) if "ref" in held else case


def _no_arrays(path: Path, what: Any) -> str:
    return (
        "meta.json gives sensor, bits and pan_offset_px of each NAME.npz with ms, pan and perhaps ref, "
        f"got {what!r} at {path}; correct it"
    )


def _from_h5(path: Path, sensor: str | None) -> Iterator[Case]:
    try:
        import h5py
    except ImportError as error:
        msg = f"reading {path.name} needs h5py, got no such package; python -m pip install 'ship-geo[benchmark]'"
        raise ArgumentError(msg) from error
    try:
        file = h5py.File(path)
    except OSError as error:
        msg = f"tiles are read from HDF5, got {path} ({error}); fetch it again, or pass another"
        raise ProductError(msg) from error
    with file:
        if any(getattr(file.get(key), "ndim", 0) != 4 for key in ("ms", "pan")):  # noqa: PLR2004  tile, band, row, col
            msg = (
                f"{path.name} holds ms, pan and perhaps gt, (tile, band, row, col), "
                f"got {', '.join(file) or 'nothing'}; pass a file of PanCollection"
            )
            raise ProductError(msg)
        if len({len(file[key]) for key in ("ms", "pan", "gt") if key in file}) > 1:
            msg = f"ms, pan and gt of a file have as many tiles each, got others in {path}; fetch it again"
            raise ProductError(msg)
        known = _sensor_of(sensor or _named_in(path.stem), file["ms"].shape[1])
        phase = None
        for index in range(len(file["ms"])):
            ms, pan = (_as_dn(file[key][index], known.bits) for key in ("ms", "pan"))
            case = Case(f"{path.stem}#{index:02d}", path.stem, ms, pan[0], RATIO, (0.0, 0.0), known, known.bits)
            if "gt" in file:
                ref = _as_dn(file["gt"][index], known.bits)
                case = _with_reference(case, ref) if phase is None else replace(case, ref=ref, phase=phase)
                phase = case.phase  # all tiles of a file are made alike
            yield case


def _as_dn(values: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers of the sensor, which the files hold as float64."""
    return values.round().clip(0, 2**bits - 1).astype(np.uint16)


def _named_in(stem: str) -> str:
    """Sensor in a file name such as ``test_wv3_multiExm1``.

    Raises
    ------
    ArgumentError
        When there is none.
    """
    for part in stem.split("_"):
        try:
            return find_sensor(SENSORS.get(part.upper(), part)).name
        except ArgumentError:
            continue
    msg = f"the file name tells the sensor, got {stem!r}; pass --sensor"
    raise ArgumentError(msg)


def _sensor_of(name: str, n_band: int) -> Sensor:
    """Sensor by name, with as many bands as there are."""
    sensor = find_sensor(SENSORS.get(name, name))
    roles = sensor.roles if len(sensor.roles) == n_band else ("blue", "green", "red", "nir")[:n_band]
    return sensor.select(roles)


def _with_reference(case: Case, ref: np.ndarray) -> Case:
    """Set the reference, and the phase at which it, degraded, meets MS best: how the pair was made, to a quarter."""
    case = replace(case, ref=ref)
    image, target = torch.from_numpy(ref.astype(np.float32)), torch.from_numpy(case.ms.astype(np.float32))
    steps = np.arange(-1, 1.01, 0.25)
    trials = [(case.phase[0] + float(row), case.phase[1] + float(col)) for row in steps for col in steps]

    def misfit(phase: tuple[float, float]) -> float:
        made = degrade(image, target.shape[-2:], case.ratio, phase, case.sensor.gnyq_ms)
        return float((made - target)[:, 4:-4, 4:-4].square().mean())

    return replace(case, phase=min(trials, key=misfit))


def simulate_cases(pack: Path, seed: int = 7) -> Iterator[Case]:
    """Pairs from the chips of a pack: table-like MTF gains, PAN a mix of the bands with a bent response, 8 bits."""
    random = np.random.default_rng(seed)
    sensor = Sensor.generic(("blue", "green", "red", "nir"), bits=8)
    chips = ChipPack.from_file(pack, len(sensor.roles)).chips.numpy()
    if any(side % int(step) for side, step in zip(chips.shape[2:], RATIO, strict=True)):
        msg = f"sides of chips are multiples of {RATIO}, got {chips.shape[2:]} in {pack}; cut them"
        raise ProductError(msg)
    shape = tuple(side // int(step) for side, step in zip(chips.shape[2:], RATIO, strict=True))
    for index, chip in enumerate(chips):
        ref = chip[[2, 1, 0, 3]].astype(np.float32)
        gains = tuple(float(gain) for gain in random.uniform(0.22, 0.38, 4))
        weights = random.dirichlet((2, 2, 2, 1))
        vegetation = (ref[3] - ref[2]) / (ref[3] + ref[2] + 1)
        pan = np.tensordot(weights, ref, 1) * (1 + 0.1 * random.standard_normal() * vegetation)
        pan += random.normal(0, 0.5, pan.shape)
        row, col = (float(shift) for shift in random.uniform(-0.25, 0.25, 2))
        ms = degrade(torch.from_numpy(ref), shape, RATIO, (row, col), gains).round().clamp(0, 255).numpy()
        pan = pan.round().clip(0, 255)
        # The shift is there to be coped with: the pair is taken as aligned.
        pair = ms.astype(np.uint8), pan.astype(np.uint8)
        name = f"{pack.stem}_{index:02d}"
        yield Case(name, pack.stem, *pair, RATIO, (0.0, 0.0), sensor, 8, ref=ref, simulated=True)
