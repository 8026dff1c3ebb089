"""A packed array file of training chips: what training reads, with NumPy and torch alone.

A pack is an ``.npz`` of ``chips`` (n, band, row, col) uint8, ``city`` (n,) names, and ``name`` and ``sha256`` (n,) of
the files they came from; `pipelines/pack_chips.py` writes it from GeoTIFFs. Not for scenes: those are read through the
TorchGeo dataset. Every draw is a function of the seed and the step alone, so training that goes on from a checkpoint
sees the chips it would have seen.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ship_geo.errors import ArgumentError, ProductError


@dataclass(frozen=True)
class ChipPack:
    """Chips in memory with the statistics of the imagery around each.

    Attributes
    ----------
    chips
        (n, band, row, col) uint8, DN.
    scene_mean, scene_std
        (n, band) float32, DN, over all chips of the same city and year.
    """

    chips: Tensor
    scene_mean: Tensor
    scene_std: Tensor

    @classmethod
    def from_file(cls, path: str | Path, n_band: int | None = None) -> ChipPack:
        """Read a pack.

        Parameters
        ----------
        path
            The file.
        n_band
            Bands that its chips must have; None: any.

        Raises
        ------
        ProductError
            If the file is missing, is no pack, or has other bands.
        """
        try:
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as pack:
                chips, groups = pack["chips"], pack["city"]
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile, zlib.error) as error:
            msg = f"training reads a pack of chips, got {path} ({error}); write one with pipelines/pack_chips.py"
            raise ProductError(msg) from error
        check_chips(chips, groups, path)
        if n_band not in (None, chips.shape[1]):
            msg = f"chips must have {n_band} bands, got {chips.shape[1]} in {path}; pass another pack"
            raise ProductError(msg)
        mean = np.zeros(chips.shape[:2], np.float32)
        std = np.zeros_like(mean)
        for group in np.unique(groups):
            own = groups == group
            values = chips[own].astype(np.float32)
            mean[own], std[own] = values.mean((0, 2, 3)), values.std((0, 2, 3))
        return cls(torch.from_numpy(chips), torch.from_numpy(mean), torch.from_numpy(std))


def check_chips(chips: NDArray[Any], groups: NDArray[Any], path: str | Path) -> None:
    """Check that arrays are those of a pack.

    Parameters
    ----------
    chips, groups
        What should be (n, band, row, col) uint8, and (n,) names.
    path
        Of the pack, for the message.

    Raises
    ------
    ProductError
        If they are not.
    """
    if chips.dtype != np.uint8 or chips.ndim != 4 or not chips.size or groups.shape != chips.shape[:1]:  # noqa: PLR2004
        msg = (
            f"a pack has chips (n, band, row, col) of uint8 and n cities, got {chips.shape} of {chips.dtype} and "
            f"{groups.shape} in {path}; write one with pipelines/pack_chips.py"
        )
        raise ProductError(msg)


def pack_sources(path: str | Path) -> dict[str, str]:
    """Names by SHA-256 of the files that a pack was made of; empty where it does not tell.

    Raises
    ------
    ProductError
        If the file is missing or is no pack.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as pack:
            if not {"name", "sha256"} <= set(pack.files):
                return {}
            return dict(zip(map(str, pack["sha256"]), map(str, pack["name"]), strict=True))
    except (OSError, EOFError, AttributeError, ValueError, BadZipFile, zlib.error) as error:
        msg = f"training reads a pack of chips, got {path} ({error}); write one with pipelines/pack_chips.py"
        raise ProductError(msg) from error


class ChipBatch(NamedTuple):
    """What one training step reads: regions of chips, the statistics around them and a seed for the simulation."""

    chips: Tensor
    scene_mean: Tensor
    scene_std: Tensor
    seed: int


class ChipSteps(Dataset[ChipBatch]):
    """One batch of random regions per training step.

    Parameters
    ----------
    pack
        The chips.
    steps
        Length.
    batch_size
        Regions per batch, each of another chip.
    region
        Rows and columns of a region, including both margins of the simulation.
    seed
        Of everything drawn; step i draws from (seed, i) alone.
    scales
        Pixels of the imagery that are averaged to one, along each axis; a step draws one of them. Coarser imagery
        has less blur of its own and other textures.

    Raises
    ------
    ArgumentError
        If a region is larger than the chips, or a scale is less than 1.
    """

    def __init__(
        self,
        pack: ChipPack,
        steps: int,
        batch_size: int,
        region: int,
        seed: int,
        scales: tuple[int, ...] = (1,),
    ) -> None:
        self.pack, self.steps, self.batch_size, self.region, self.seed = pack, steps, batch_size, region, seed
        self.scales = tuple(scales)
        size = min(pack.chips.shape[-2:])
        if min(self.scales, default=0) < 1 or size < region * max(self.scales):
            msg = (
                f"regions fit into the chips at every scale, got {region} at scales {self.scales} of "
                f"{tuple(pack.chips.shape[-2:])} pixels; make them smaller"
            )
            raise ArgumentError(msg)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> ChipBatch:
        if step >= self.steps:
            raise IndexError(step)
        random = np.random.default_rng((self.seed, step))
        chosen = random.choice(len(self.pack.chips), self.batch_size, replace=len(self.pack.chips) < self.batch_size)
        scale = self.scales[int(random.integers(len(self.scales)))]
        side = self.region * scale
        corners = random.integers(0, min(self.pack.chips.shape[-2:]) - side + 1, (self.batch_size, 2))
        regions = torch.stack(
            [self.pack.chips[i, :, r : r + side, c : c + side] for i, (r, c) in zip(chosen, corners, strict=True)]
        )
        index = torch.from_numpy(chosen)
        return ChipBatch(
            functional.avg_pool2d(regions.float(), scale) if scale > 1 else regions,
            self.pack.scene_mean[index],
            self.pack.scene_std[index],
            int(random.integers(2**62)),
        )
