from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from ship_geo._typing import Box
from ship_geo.grids import Grid
from ship_geo.writer import BlockSink, OutputProfile, Staging

SHAPE = (700, 900)
STEP = 60  # blocks that no tile is a multiple of
BLOCKS = tuple(
    (row, min(row + STEP, SHAPE[0]), col, min(col + STEP, SHAPE[1]))
    for row in range(0, SHAPE[0], STEP)
    for col in range(0, SHAPE[1], STEP)
)
FACTS = {"scene": "one", "model_digest": "a" * 64, "bits": 11}
PROFILE = OutputProfile(
    Grid(SHAPE, Affine(0.5, 0, 500000, 0, -0.5, 4640000), "EPSG:32633"), "uint16", ("blue", "green", "red")
)


@cache
def values() -> np.ndarray:
    return np.random.default_rng(5).integers(1, 2000, (3, *SHAPE)).astype(np.uint16)


@cache
def mask() -> np.ndarray:
    return np.random.default_rng(6).random(SHAPE) > 0.1


def part(box: Box) -> tuple[np.ndarray, np.ndarray]:
    row0, row1, col0, col1 = box
    valid = mask()[row0:row1, col0:col1]
    return np.where(valid, values()[:, row0:row1, col0:col1], 0).astype(np.uint16), valid


def staging(target: Path, **options: Any) -> Staging:
    return Staging(target, PROFILE, options.pop("facts", FACTS), BLOCKS, **options)


def write_parts(where: Staging | BlockSink, boxes: Sequence[Box]) -> None:
    for box in boxes:
        where.write(box, *part(box), {"n_clipped": 2, "n_moved": 1})


def make_whole(target: Path, **options: Any) -> Staging:
    with staging(target, **options) as made:
        write_parts(made, made.todo)
        made.finish()
    return made


# What other processes run, by name.


def work_for_a_while(target: str, n_block: int) -> None:
    """Do some blocks, slowly, and wait to be killed."""
    with staging(Path(target)) as made:
        for box in made.todo[:n_block]:
            write_parts(made, [box])
            time.sleep(0.003)
        time.sleep(60)


def finish_for_ever(target: str) -> None:
    """Do all blocks, and hang while the COG is made, with a part of it written."""
    import ship_geo.writer.assembly

    def hang(_staged: Path, made: Path, _compress: str) -> None:
        made.write_bytes(b"half a COG")
        time.sleep(60)

    ship_geo.writer.assembly.copy_to_cog = hang
    make_whole(Path(target))


def write_with(sink: BlockSink, boxes: Sequence[Box]) -> None:
    write_parts(sink, boxes)
