"""The config file of training, ablation and publishing, checked as a whole before anything is done by it.

Tables are dataclasses: an entry that is not known, is missing, or is of another type is told, never passed over.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ship_geo.data.simulation import MARGIN, SimulationConfig
from ship_geo.errors import ArgumentError
from ship_geo.nn import ShipPlusPlusConfig
from ship_geo.training import Schedule

TABLES = ("run", "network", "schedule", "simulation", "trainer", "publish")
PRECISIONS = ("auto", "16-mixed", "16-true", "bf16-mixed", "bf16-true", "32-true", "64-true")
"""Of Lightning; ``"auto"`` is what `ship_geo.training.trainer_precision` chooses."""

RATIO = 4
"""Regions are multiples of it: the largest ratio of simulated pairs."""

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """How a network is trained and checked.

    Attributes
    ----------
    seed
        Of everything drawn.
    batch_size, region, scales
        As in `ship_geo.data.chips.ChipSteps`.
    weight_decay, ema
        Of AdamW, and of the averaged weights.
    precision
        One of `PRECISIONS`.
    val_every, val_steps, val_region
        Steps between two validations, steps of one, and the region of its chips.
    save_every
        Steps between two checkpoints.
    compile
        A backend of torch.compile; empty: none.
    workers
        Processes that read ahead, for each loader.
    """

    seed: int
    batch_size: int
    region: int
    weight_decay: float
    ema: float
    precision: str
    val_every: int
    val_steps: int
    val_region: int
    save_every: int
    scales: tuple[int, ...] = (1,)
    compile: str = ""
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse a run that could not begin, or not end."""
        counts = (self.batch_size, self.val_every, self.val_steps, self.save_every, *self.scales)
        if min(counts) < 1 or min(self.workers, self.weight_decay) < 0 or not 0 <= self.ema < 1:
            msg = f"[run] has numbers of at least 1 and an ema from 0 to below 1, got {self}; correct the config"
            raise ArgumentError(msg)
        if not 0 <= self.seed < 2**32:
            msg = f"the seed of [run] is from 0 to 2**32 - 1, got {self.seed}; correct the config"
            raise ArgumentError(msg)
        if self.precision not in PRECISIONS:
            msg = f"precision of [run] is one of {', '.join(PRECISIONS)}, got {self.precision!r}; correct the config"
            raise ArgumentError(msg)
        sides = (self.region, self.val_region)
        if min(sides) <= 2 * MARGIN or any(side % RATIO for side in sides):
            msg = f"regions of [run] are multiples of {RATIO} above {2 * MARGIN}, got {sides}; correct the config"
            raise ArgumentError(msg)


@dataclass(frozen=True)
class Place:
    """On what a network is trained, as Lightning takes it."""

    accelerator: str = "auto"
    devices: int | str | list[int] = 1
    num_nodes: int = 1
    strategy: str = "auto"


@dataclass(frozen=True)
class Publish:
    """What weights are published with, as `ship_geo.nn.checkpoint.save_checkpoint` takes it."""

    window: int
    overlap: int
    trained_on: str
    licence: str

    def __post_init__(self) -> None:
        """Refuse windows that weights cannot have, before they are trained."""
        if not 0 <= 2 * self.overlap <= self.window or not self.window:
            msg = f"the overlap of [publish] is half a window at most, got {self}; correct the config"
            raise ArgumentError(msg)


@dataclass(frozen=True)
class Settings:
    """A config; `tables` is what was written, for records."""

    run: Run
    network: ShipPlusPlusConfig
    schedule: Schedule
    simulation: SimulationConfig
    trainer: Place
    tables: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read a config.

        Raises
        ------
        ArgumentError
            If it is none, or cannot work.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # no TOML, or no UTF-8
            msg = f"a config is a TOML file, got {path} ({error}); correct it, or pass another"
            raise ArgumentError(msg) from error
        if not set(TABLES[:4]) <= set(tables) <= set(TABLES):
            msg = (
                f"a config has the tables {', '.join(TABLES[:4])} and perhaps {', '.join(TABLES[4:])}, "
                f"got {', '.join(tables) or 'none'}; correct {path}"
            )
            raise ArgumentError(msg)
        return cls(
            read_table(tables, "run", Run),
            read_table(tables, "network", ShipPlusPlusConfig),
            read_table(tables, "schedule", Schedule),
            read_table(tables, "simulation", SimulationConfig),
            read_table(tables, "trainer", Place),
            tables,
        )

    @property
    def publish(self) -> Publish:
        """What weights are published with; a run can begin without."""
        return read_table(self.tables, "publish", Publish)


def read_table(tables: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Read a table into its dataclass.

    Raises
    ------
    ArgumentError
        If an entry is missing, not known, or of another type.
    """
    values, types = tables.get(name, {}), get_type_hints(kind)
    if not isinstance(values, dict):
        msg = f"[{name}] of a config is a table, got {values!r}; correct the config"
        raise ArgumentError(msg)
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    if wrong := (values.keys() - types.keys()) | (needed - values.keys()):
        told = ", ".join(sorted(wrong))
        msg = f"[{name}] of a config has the entries {', '.join(types)}, got {told} unknown or missing; correct it"
        raise ArgumentError(msg)
    for key, value in values.items():
        if not _fits(value, types[key]):
            wanted = getattr(types[key], "__name__", types[key]) if get_origin(types[key]) is None else types[key]
            msg = f"{key} of [{name}] is of the type {wanted}, got {value!r}; correct the config"
            raise ArgumentError(msg)
    plain = {key: tuple(value) if get_origin(types[key]) is tuple else value for key, value in values.items()}
    return kind(**plain)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of TOML is of a type; a whole number is a float, too, NaN and infinity are none."""
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        is_long = inner[-1] is ... or (isinstance(value, list) and len(value) == len(inner))
        return isinstance(value, list) and bool(value) and is_long and all(_fits(one, inner[0]) for one in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    if kind in (int, bool):
        return type(value) is kind
    known = tuple(get_origin(one) or one for one in get_args(kind)) or kind
    return isinstance(value, known)
