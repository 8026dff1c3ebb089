"""Measure models at reduced resolution on a folder of scenes, next to the classical methods.

Usage: ``python pipelines/evaluate.py SCENES [--pack VAL.npz] [--model auto] [--out TABLE.json]``. SCENES holds ``.npz``
files of ``pan`` (row, col), ``ms`` (band, row, col) and, where the pair was degraded already, ``ref``; ``meta.json``
tells sensor, bits and the PAN offset of each. Pairs without reference are degraded once more (Wald's protocol). A pack
of chips adds simulated pairs. Every method runs through the engine of the package, is rounded and clipped, and is
scored without a border cut. The last column divides by the best classical method of each scene.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from affine import Affine

from ship_geo import metrics
from ship_geo.coarser import Pair
from ship_geo.data.chips import ChipPack
from ship_geo.data.reader import ArrayPairReader
from ship_geo.degrade import degrade_pair
from ship_geo.fusers import ModelSpec, NetworkFuser, band_groups, load_fuser
from ship_geo.grids import Grid, GridPair
from ship_geo.inference import ReaderSource, fuse_block, gather_stats, stats_plan, to_dtype
from ship_geo.mixture import add_mixture
from ship_geo.ops.resample import degrade
from ship_geo.sensors import Sensor, find_sensor
from ship_geo.tiling import Plan, halo_for

OPPONENTS = ("brovey", "gsa", "mtf-glp-fs", "mtf-glp-hpm")
SENSORS = {"QB": "QuickBird-2", "GE1": "GeoEye-1", "GF2": "GaoFen-2", "Spot6": "SPOT-6", "WV2/WV3?": "WorldView-2"}
RATIO = 4


@dataclass(frozen=True)
class Case:
    """A pair with its reference, DN; `phase` as in ship_geo.ops.resample."""

    name: str
    ms: np.ndarray
    pan: np.ndarray
    ref: np.ndarray
    phase: tuple[float, float]
    sensor: Sensor
    bits: int


def sensor_of(name: str, n_band: int) -> Sensor:
    """Sensor of a scene by the name in ``meta.json``, with as many bands as it has."""
    sensor = find_sensor(SENSORS.get(name, name))
    roles = sensor.roles if len(sensor.roles) == n_band else ("blue", "green", "red", "nir")[:n_band]
    return sensor.select(roles)


def aligned_phase(ms: np.ndarray, ref: np.ndarray, sensor: Sensor, start: tuple[float, float]) -> tuple[float, float]:
    """Phase at which the degraded reference meets MS best, in quarters of a PAN pixel: how the pair was made."""
    image, target = torch.from_numpy(ref.astype(np.float32)), torch.from_numpy(ms.astype(np.float32))
    shape = (ms.shape[1], ms.shape[2])
    steps = np.arange(-1, 1.01, 0.25)
    trials = [(start[0] + row, start[1] + col) for row in steps for col in steps]

    def misfit(phase: tuple[float, float]) -> float:
        made = degrade(image, shape, (RATIO, RATIO), phase, sensor.gnyq_ms)
        return float((made - target)[:, 4:-4, 4:-4].square().mean())

    return min(trials, key=misfit)


def read_cases(folder: Path) -> Iterator[Case]:
    """Read every scene of a folder, degrading those without a reference."""
    known = json.loads((folder / "meta.json").read_text())
    for name, meta in known.items():
        with np.load(folder / f"{name}.npz") as arrays:
            held = {key: arrays[key] for key in arrays}
        ms, pan = held["ms"], held["pan"]
        sensor = sensor_of(meta["sensor"], len(ms))
        offset = (float(meta["pan_offset_px"][0]), float(meta["pan_offset_px"][1]))
        if "ref" in held:
            yield Case(name, ms, pan, held["ref"], aligned_phase(ms, held["ref"], sensor, offset), sensor, meta["bits"])
            continue
        top = 2.0 ** meta["bits"] - 1  # bicubic PAN overshoots at edges, and would wrap round in the cast
        made = degrade_pair(
            ms, pan[None], ratio=(RATIO, RATIO), phase=offset, gnyq_ms=sensor.gnyq_ms, gnyq_pan=sensor.gnyq_pan
        )
        yield Case(
            name,
            made.ms_lr.round().clamp(0, top).numpy().astype(ms.dtype),
            made.pan_lr[0].round().clamp(0, top).numpy().astype(pan.dtype),
            made.ref.numpy(),
            made.phase,
            sensor,
            meta["bits"],
        )


def simulate_cases(pack: Path, seed: int = 7) -> Iterator[Case]:
    """Pairs from the chips of a pack: table-like MTF gains, PAN a mix of the bands with a bent response, 8 bits."""
    random = np.random.default_rng(seed)
    chips = ChipPack.from_file(pack).chips.numpy()
    for index, chip in enumerate(chips):
        ref = chip[[2, 1, 0, 3]].astype(np.float32)
        gains = tuple(float(gain) for gain in random.uniform(0.22, 0.38, 4))
        weights = random.dirichlet((2, 2, 2, 1))
        index_ = (ref[3] - ref[2]) / (ref[3] + ref[2] + 1)
        pan = np.tensordot(weights, ref, 1) * (1 + 0.1 * random.standard_normal() * index_)
        pan += random.normal(0, 0.5, pan.shape)
        image = torch.from_numpy(ref)
        shift = random.uniform(-0.25, 0.25, 2)
        ms = degrade(image, (64, 64), (RATIO, RATIO), (float(shift[0]), float(shift[1])), gains)
        base = Sensor.generic(("blue", "green", "red", "nir"), bits=8)
        yield Case(
            f"naip_{index:02d}",
            ms.round().clamp(0, 255).numpy().astype(np.uint8),
            pan.round().clip(0, 255).astype(np.uint8),
            ref,
            (0.0, 0.0),
            base,
            8,
        )


def grids_of(case: Case) -> GridPair:
    """Grids of a case: PAN pixels as the unit, MS shifted by the phase."""
    pan = Grid(case.pan.shape, Affine(1, 0, 0, 0, -1, 0))
    row, col = case.phase
    ms = Grid(case.ms.shape[1:], Affine(RATIO, 0, col, 0, -RATIO, -row))
    return GridPair.from_grids(ms, pan)


def run(case: Case, model: object, precision: str) -> tuple[np.ndarray, GridPair]:
    """Sharpen a case through the engine; float32 DN on the common overlap."""
    pair = grids_of(case)
    spec = ModelSpec.resolve(model)
    source = ReaderSource(ArrayPairReader(case.ms, case.pan, pair=pair))
    shape, halo, gains = pair.output.shape, halo_for(pair.ratio), case.sensor.gnyq_ms
    stats = gather_stats(source, stats_plan(shape, halo), gains, pair.ratio if spec.kind == "network" else None)
    fuser, groups = load_fuser(spec, "auto", precision), band_groups(case.sensor.roles, spec.n_band)
    if isinstance(fuser, NetworkFuser):
        coarse = Pair(shape, pair.ratio, tuple(view.gnyq for view in stats.views), case.sensor.gnyq_pan)
        stats = add_mixture(stats, source, coarse, fuser.residual, groups)
    plan = Plan(shape, spec.window, spec.overlap, halo)
    fused, _ = fuse_block(
        source,
        plan,
        (0, shape[0], 0, shape[1]),
        fuser,
        stats,
        gnyq_ms=gains,
        groups=groups,
    )
    return fused, pair


def score(case: Case, model: object, precision: str) -> dict[str, float]:
    """SAM and ERGAS of a model on a case."""
    fused, pair = run(case, model, precision)
    row0, row1, col0, col1 = pair.overlap
    values, _ = to_dtype(fused, "uint16", (0, 2.0**case.bits - 1))
    ref = case.ref[:, row0:row1, col0:col1]
    return {"sam": metrics.sam(values, ref), "ergas": metrics.ergas(values, ref, ratio=RATIO)}


@click.command()
@click.argument("scenes", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pack", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Chips to simulate from.")
@click.option("--model", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write the table as JSON.")
def main(scenes: Path, pack: Path | None, model: str, precision: str, out: Path | None) -> None:
    """Print ERGAS of every method on every scene, and the ratio of MODEL to the best classical one."""
    columns = ("exp", *OPPONENTS, model)
    click.echo(f"{'scene':18s} " + " ".join(f"{name[:12]:>12s}" for name in columns) + "   ERGAS   SAM ratio")
    table = []
    for case in [*read_cases(scenes), *(simulate_cases(pack) if pack else ())]:
        scores = {name: score(case, name, precision) for name in columns}
        ratios = {key: scores[model][key] / min(scores[name][key] for name in OPPONENTS) for key in ("ergas", "sam")}
        table.append({"scene": case.name, "scores": scores, "ratios": ratios})
        figures = " ".join(f"{scores[name]['ergas']:12.3f}" for name in columns)
        click.echo(f"{case.name:18s} {figures}   {ratios['ergas']:.3f}   {ratios['sam']:.3f}")
    for key in ("ergas", "sam"):
        every = [row["ratios"][key] for row in table]
        real = [row["ratios"][key] for row in table if not row["scene"].startswith("naip_")]
        click.echo(f"mean {key} ratio {np.mean(every):.4f}, worst {max(every):.3f}; real {np.mean(real):.4f}")
    if out is not None:
        out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
