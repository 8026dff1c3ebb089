"""Tables of results: means with errors, every scene, and networks against the best classical method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ship_geo.baselines import METHODS

RESOLUTIONS = ("reduced", "full")
SHOWN = {"reduced": ("ergas", "sam", "q2n"), "full": ("hqnr",)}
"""Indices with a table of all scenes."""

COMPARED = {"reduced": ("ergas", "sam"), "full": ("hqnr",)}
"""Indices by which a network is compared with the best classical method: low is good at reduced, high at full."""

Scores = dict[str, dict[str, float]]
"""Values of indices, by method and index."""


@dataclass(frozen=True)
class Row:
    """One pair at one resolution."""

    scene: str
    group: str
    sensor: str
    resolution: str
    shape: tuple[int, int]
    ratio: tuple[float, float]
    phase: tuple[float, float]
    sha256: str
    scores: Scores

    def best(self, index: str) -> float:
        """Value of the best classical method; EXP does not count."""
        values = [self.scores[name][index] for name in METHODS if name in self.scores and name != "exp"]
        return (min if self.resolution == "reduced" else max)(values, default=math.nan)

    def against_best(self, model: str, index: str) -> float:
        """Ratio of a model to the best classical method at reduced resolution, difference at full."""
        own, best = self.scores[model][index], self.best(index)
        return own / best if self.resolution == "reduced" else own - best


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error, of what is finite; NaN where there is too little."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    error = known.std(ddof=1) / math.sqrt(known.size) if known.size > 1 else math.nan
    return (float(known.mean()) if known.size else math.nan), float(error)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means and standard errors over the rows of one resolution, and each network against the best classical method."""
    methods = list(rows[0].scores)
    indices = list(rows[0].scores[methods[0]])
    means = {
        name: {index: mean_and_error([row.scores[name][index] for row in rows]) for index in indices}
        for name in methods
    }
    compared = [index for index in COMPARED[rows[0].resolution] if math.isfinite(rows[0].best(index))]
    against = {
        name: {index: _compared([row.against_best(name, index) for row in rows], index) for index in compared}
        for name in methods
        if name not in METHODS
    }
    return {"n": len(rows), "mean_and_error": means, "against_best": against}


def _compared(values: Sequence[float], index: str) -> dict[str, float]:
    mean, error = mean_and_error(values)
    return {"mean": mean, "error": error, "worst": min(values) if index in COMPARED["full"] else max(values)}


def write_markdown(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """Write the tables of every resolution."""
    lines = ["# Results", "", *(f"- {name}: {value}" for name, value in facts.items() if name != "models")]
    lines += [f"- model {name}: {digest}" for name, digest in facts["models"].items()]
    for resolution in RESOLUTIONS:
        some = [row for row in rows if row.resolution == resolution]
        if some:
            lines += ["", f"## {resolution.capitalize()} resolution", "", *_means(some)]
            for index in (index for index in SHOWN[resolution] if index in next(iter(some[0].scores.values()))):
                lines += ["", f"### {index} of every scene", "", *_scenes(some, index)]
    return "\n".join(lines) + "\n"


def _means(rows: Sequence[Row]) -> Iterator[str]:
    told = summary(rows)
    means = told["mean_and_error"]
    indices = list(next(iter(means.values())))
    yield f"Mean and standard error over {told['n']} scenes."
    yield ""
    yield from _table(
        ["method", *indices],
        ([name, *(_with_error(*means[name][index]) for index in indices)] for name in means),
    )
    for name, against in told["against_best"].items():
        for index, values in against.items():
            what = "divided by" if rows[0].resolution == "reduced" else "minus"
            yield ""
            yield (
                f"{index} of {name} {what} that of the best classical method of each scene: "
                f"{_with_error(values['mean'], values['error'])}, worst {values['worst']:.4f}."
            )


def _scenes(rows: Sequence[Row], index: str) -> Iterator[str]:
    methods = list(rows[0].scores)
    networks = [name for name in methods if name not in METHODS and index in COMPARED[rows[0].resolution]]
    networks = [name for name in networks if math.isfinite(rows[0].best(index))]
    heads = ["scene", *methods, *(f"{name} : best" for name in networks)]
    body = [
        [row.scene, *(f"{row.scores[name][index]:.4f}" for name in methods)]
        + [f"{row.against_best(name, index):.4f}" for name in networks]
        for row in rows
    ]
    columns = [[row.scores[name][index] for row in rows] for name in methods]
    columns += [[row.against_best(name, index) for row in rows] for name in networks]
    body.append(["mean", *(_with_error(*mean_and_error(column)) for column in columns)])
    yield from _table(heads, body)


def _with_error(mean: float, error: float) -> str:
    return f"{mean:.4f} ± {error:.4f}" if math.isfinite(error) else f"{mean:.4f}"


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *body):
        yield f"| {' | '.join(cells)} |"
