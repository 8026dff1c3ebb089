"""Measure models beside the classical methods on a set of pairs, and write the results table.

Usage: ``python pipelines/evaluate.py SOURCE… [--model auto] [--resolution reduced,full] [--out TABLE]``. What a source
may be is told in `cases.py`. At reduced resolution a pair without a reference is degraded once more (Wald's protocol:
MS through the MTF of its bands, PAN by antialiased cubic); at full resolution every pair is measured as it is, also one
that was degraded before. Every method runs through the engine of the package, is rounded and clipped to what would be
written, and is scored by `ship_geo.metrics`. A network is compared with the best classical method of each scene, EXP
aside. With ``--out``, TABLE.md and TABLE.json are written, both or neither; the former goes to the standard output
otherwise. Nothing to measure is a failure.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from cases import Case, read_cases, simulate_cases
from script import Script
from tables import RESOLUTIONS, Row, summary, write_markdown

import ship_geo
from ship_geo import metrics
from ship_geo.adapt import adapt
from ship_geo.baselines import METHODS
from ship_geo.coarser import Pair
from ship_geo.errors import ProductError
from ship_geo.fusers import ModelSpec, NetworkFuser, band_groups, load_fuser
from ship_geo.inference import ReaderSource, fuse_block, gather_stats, to_dtype, value_limits
from ship_geo.mixture import add_mixture
from ship_geo.nn.checkpoint import build_model, save_checkpoint
from ship_geo.nn.sharpener import Sharpener
from ship_geo.nn.weights import resolve_weights
from ship_geo.sampling import statistics_plan
from ship_geo.stats import SceneStats
from ship_geo.tiling import Plan, halo_for
from ship_geo.writer.aside import aside
from ship_geo.writer.checks import check_names

FITTED = ", fitted"
"""What is added to the name of a network that was fitted to each pair."""


def measure_scene(case: Case, kind: str = "classical") -> SceneStats:
    """Gather the statistics that all models of a kind are told; networks hear how each band sees PAN, too."""
    plan = statistics_plan(case.reader.shape, halo_for(case.ratio))
    return gather_stats(ReaderSource(case.reader), plan, case.sensor, case.ratio if kind == "network" else None)


def sharpen(case: Case, spec: ModelSpec, stats: SceneStats, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Run a model through the engine: values as they would be written, (band, row, col), and validity, (row, col)."""
    reader, gains = case.reader, case.sensor.gnyq_ms
    source, shape, halo = ReaderSource(reader), reader.shape, halo_for(case.ratio)
    fuser, groups = load_fuser(spec, "auto", precision), band_groups(case.sensor.roles, spec.n_band)
    if isinstance(fuser, NetworkFuser):
        stats = add_mixture(stats, source, coarse_pair(case, stats), fuser.residual, groups)
    fused, valid = fuse_block(
        source,
        Plan(shape, spec.window, spec.overlap, halo),
        (0, shape[0], 0, shape[1]),
        fuser,
        stats,
        gnyq_ms=gains,
        groups=groups,
    )
    dtype = str(case.ms.dtype)
    return to_dtype(fused, dtype, value_limits(dtype, case.bits, stats.ms_max))[0], valid


def coarse_pair(case: Case, stats: SceneStats) -> Pair:
    """Return what a pair is degraded by, to learn from it."""
    return Pair(case.reader.shape, case.ratio, tuple(view.gnyq for view in stats.views), case.sensor.gnyq_pan)


def fit(case: Case, spec: ModelSpec, stats: SceneStats, folder: Path) -> ModelSpec:
    """Fit weights to a pair, as ``adapt="auto"`` does to a scene, and write them into a folder."""
    checkpoint = resolve_weights(spec.path)
    network = build_model(checkpoint)
    if not isinstance(network, Sharpener):
        msg = f"networks for pan-sharpening are fitted, got a {checkpoint.kind}; leave out --adapt"
        raise click.UsageError(msg)
    groups = band_groups(case.sensor.roles, spec.n_band)
    tuned, record = adapt(network, ReaderSource(case.reader), coarse_pair(case, stats), groups)
    click.echo(f"{case.name}, {spec.name}: fitted in {record.seconds:.0f} s. {record.reason}", err=True)
    keys = ("window", "overlap", "trained_on", "licence", "metrics")
    same = {key: getattr(checkpoint, key) for key in keys}
    return ModelSpec.resolve(
        save_checkpoint(folder / f"{spec.digest[:12]}_{case.digest[:12]}.safetensors", tuned, **same)
    )


def with_fitted(
    case: Case, specs: Mapping[str, ModelSpec], stats: Mapping[str, SceneStats], folder: Path
) -> dict[str, ModelSpec]:
    """Add to models the same networks, fitted to a pair."""
    networks = {name: spec for name, spec in specs.items() if spec.kind == "network"}
    return {**specs, **{name + FITTED: fit(case, spec, stats["network"], folder) for name, spec in networks.items()}}


def score(
    case: Case, fused: np.ndarray, valid: np.ndarray, resolution: str, *, as_published: bool = False
) -> dict[str, float]:
    """All indices of a result; at reduced resolution `case` has a reference."""
    reader = case.reader
    (rows, cols), (row0, row1, col0, col1) = reader.shape, reader.pair.overlap
    if resolution == "full":
        pair = reader.read(0, rows, 0, cols, margin=0)
        images = (image.astype(np.float64) for image in (fused, pair.ms, pair.pan))
        gains = case.sensor.gnyq_ms
        return metrics.no_reference(*images, ratio=pair.ratio, phase=pair.phase, gnyq_ms=gains, valid=valid)
    ref_valid = np.ones(case.pan.shape, np.bool_) if case.ref_valid is None else case.ref_valid
    return metrics.full_reference(
        fused,
        case.ref[:, row0:row1, col0:col1],
        ratio=float(np.mean(case.ratio)),
        peak=2.0**case.bits - 1,
        valid=valid & ref_valid[row0:row1, col0:col1],
        border=(20, 21) if as_published else 0,
        tail="mirror" if as_published else "drop",
    )


def measure(
    case: Case,
    specs: Mapping[str, ModelSpec],
    resolution: str,
    precision: str = "auto",
    *,
    as_published: bool = False,
    adapted: bool = False,
) -> Row:
    """Measure every model, by the name it has in the table, on a pair; networks fitted to it, too, where wanted."""
    pair = case.reduced() if resolution == "reduced" else case
    stats = {kind: measure_scene(pair, kind) for kind in {spec.kind for spec in specs.values()}}
    with tempfile.TemporaryDirectory(prefix="ship-geo-evaluate-") as folder:
        if adapted:
            specs = with_fitted(pair, specs, stats, Path(folder))
        scores = scores_of(pair, specs, stats, resolution, precision, as_published=as_published)
    where = pair.reader.shape, pair.ratio, pair.phase, pair.digest
    return Row(case.name, case.group, case.sensor.title, resolution, *where, scores)


def scores_of(
    pair: Case,
    specs: Mapping[str, ModelSpec],
    stats: Mapping[str, SceneStats],
    resolution: str,
    precision: str,
    *,
    as_published: bool,
) -> dict[str, dict[str, float]]:
    """All indices of every model on a pair."""
    return {
        name: score(pair, *sharpen(pair, spec, stats[spec.kind], precision), resolution, as_published=as_published)
        for name, spec in specs.items()
    }


def named(models: Sequence[str], baselines: Sequence[str]) -> dict[str, ModelSpec]:
    """Specs by the names they have in the table: that of the checkpoint, or its path where several are called so."""
    classical = {name: ModelSpec.resolve(name) for name in baselines or METHODS}
    specs = [(model, ModelSpec.resolve(model)) for model in models]
    names = [spec.name for _, spec in specs]
    return classical | {spec.name if names.count(spec.name) == 1 else model: spec for model, spec in specs}


def known_facts(specs: Mapping[str, ModelSpec], precision: str, *, as_published: bool) -> dict[str, Any]:
    """Tell what the figures depend on beside the data."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "command": shlex.join(["python", "pipelines/evaluate.py", *sys.argv[1:]]),
        "commit": commit(),
        "versions": f"ship_geo {ship_geo.__version__}, torch {torch.__version__}, numpy {np.__version__}",
        "device": f"{device}, precision {precision}",
        "conventions": "Gaussian MTFs of exact width, sum 1; cubic interpolation at the phase of the pair; Q2n, "
        "D_lambda, D_S on whole blocks of 32 x 32; rounded and clipped before",
        "border": "20 leading and 21 trailing pixels cut at reduced resolution" if as_published else "nothing cut",
        "models": {name: spec.digest for name, spec in specs.items() if spec.kind == "network"},
    }


def commit() -> str:
    """Name the commit of this checkout, with a + where files differ from it; "unknown" outside of one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head, changed = (
            subprocess.run([*git, *rest], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
            for rest in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}{'+' if changed else ''}"


def _resolutions(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    chosen = tuple(value.split(","))
    if not set(chosen) <= set(RESOLUTIONS):
        msg = f"resolutions are {' and '.join(RESOLUTIONS)}, got {value!r}; separate them by a comma"
        raise click.BadParameter(msg)
    return chosen


def places_of(out: Path, inputs: Sequence[Path]) -> tuple[Path, Path]:
    """Where the page and the record of a table go, if they can: neither into a folder's place nor into an input's."""
    if not out.name or not out.parent.is_dir():
        msg = f"the folder of --out exists, got {out}; make it first, and add a name"
        raise click.UsageError(msg)
    page, record = out.with_name(f"{out.name}.md"), out.with_name(f"{out.name}.json")
    check_names({"--out": page}, inputs)
    check_names({"--out": record}, inputs)
    if taken := [path for path in (page, record) if path.is_dir()]:
        msg = f"--out names files, got the folder {taken[0]}; choose another name"
        raise click.UsageError(msg)
    return page, record


@click.command(cls=Script)
@click.argument("sources", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--pack", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Chips to simulate from.")
@click.option("--model", "models", multiple=True, default=("auto",), show_default=True, help="Repeatable.")
@click.option("--baseline", "baselines", multiple=True, type=click.Choice(list(METHODS)), help="Default: all.")
@click.option("--resolution", "resolutions", default="reduced,full", show_default=True, callback=_resolutions)
@click.option("--sensor", help="Where files do not tell it.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True)
@click.option("--adapt", "adapted", is_flag=True, help="Measure networks that are fitted to each pair, too.")
@click.option("--as-published", is_flag=True, help="Cut 20 leading, 21 trailing pixels, mirror incomplete Q2n blocks.")
@click.option("--out", type=click.Path(path_type=Path), help="Write OUT.md and OUT.json.")
def main(  # noqa: PLR0913, PLR0917  one argument for each option
    sources: tuple[Path, ...],
    pack: Path | None,
    models: tuple[str, ...],
    baselines: tuple[str, ...],
    resolutions: tuple[str, ...],
    sensor: str | None,
    precision: str,
    adapted: bool,
    as_published: bool,
    out: Path | None,
) -> None:
    """Measure every method on every pair of SOURCES."""
    if not sources and pack is None:
        msg = "there is something to measure, got no source; pass SOURCES or --pack"
        raise click.UsageError(msg)
    metas = [source / "meta.json" for source in sources]
    inputs = [*sources, *metas, *([] if pack is None else [pack]), *map(Path, models)]
    places = None if out is None else places_of(out, inputs)
    specs = named(models, baselines)
    cases = _all_cases(sources, pack, sensor)
    rows = list(_measured(cases, specs, resolutions, precision, as_published, adapted))
    if not rows:
        msg = "there is something to measure, got simulated pairs at full resolution only; pass --resolution reduced"
        raise ProductError(msg)
    facts = known_facts(specs, precision, as_published=as_published)
    text = write_markdown(rows, facts)
    if places is None:
        click.echo(text, nl=False)
        return
    totals = {name: summary(some) for name in resolutions if (some := [row for row in rows if row.resolution == name])}
    table = finite({**facts, "summary": totals, "rows": [asdict(row) for row in rows]})
    with aside(places[0], overwrite=True) as page, aside(places[1], overwrite=True) as record:
        page.write_text(text)
        record.write_text(json.dumps(table, indent=1, allow_nan=False))


def _all_cases(sources: Iterable[Path], pack: Path | None, sensor: str | None) -> Iterator[Case]:
    for source in sources:
        yield from read_cases(source, sensor)
    if pack is not None:
        yield from simulate_cases(pack)


def _measured(
    cases: Iterable[Case],
    specs: Mapping[str, ModelSpec],
    resolutions: Sequence[str],
    precision: str,
    as_published: bool,
    adapted: bool,
) -> Iterator[Row]:
    for case in cases:
        for resolution in resolutions:
            if resolution == "full" and case.simulated:
                continue
            yield measure(case, specs, resolution, precision, as_published=as_published, adapted=adapted)
            click.echo(f"{case.name}, {resolution} resolution: done", err=True)


def finite(value: Any) -> Any:
    """Put None where JSON has no number."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
