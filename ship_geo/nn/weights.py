"""The weights that come with the package, in the manner of torchvision and TorchGeo.

``ShipPlusPlus_Weights.DEFAULT.load()`` gives a `Checkpoint`; ``resolve_weights`` gives one from whatever a person
typed: a name, a path, a member, or nothing. Nothing is downloaded: the files are part of the package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from ship_geo.errors import ArgumentError
from ship_geo.nn.checkpoint import Checkpoint, load_checkpoint

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Weights:
    """Weights that come with the package.

    Parameters
    ----------
    file : str
        Name of the checkpoint within ``ship_geo/weights``.
    trained_on : str
        Imagery they were trained on.
    licence : str
        Their licence.
    card : str
        Name of the model card beside the checkpoint.
    """

    file: str
    trained_on: str
    licence: str
    card: str

    @property
    def path(self) -> Path:
        """The checkpoint, whether it is there or not."""
        return _folder() / self.file

    @property
    def meta(self) -> dict[str, Any]:
        """Licence, training imagery, model card, and the figures measured with them.

        Raises
        ------
        CheckpointError
            When the file, which holds the figures, is missing or damaged.
        """
        return {
            "licence": self.licence,
            "trained_on": self.trained_on,
            "card": _folder() / self.card,
            "metrics": dict(self.load().metrics),
        }

    def load(self) -> Checkpoint:
        """Read and check the file.

        Raises
        ------
        CheckpointError
            When it is missing or damaged.
        """
        return load_checkpoint(self.path)

    def get_state_dict(self) -> dict[str, Tensor]:
        """Return the tensors alone, for ``load_state_dict`` of a network with the same configuration."""
        return dict(self.load().state)


class ShipPlusPlus_Weights(Enum):  # noqa: N801 - the naming of torchvision and TorchGeo, which users look for
    """Weights of SHIP++ that come with the package; ``DEFAULT`` is the best for an unknown sensor."""

    PANSHARPENING_NAIP = Weights(
        file="ship_plus_plus_naip.safetensors",
        trained_on="NAIP aerial imagery, 0.6 m, blue green red nir, simulated PAN and MS; some real Landsat 8",
        licence="CC-BY-4.0",
        card="ship_plus_plus_naip.md",
    )
    DEFAULT = PANSHARPENING_NAIP

    @property
    def path(self) -> Path:
        """The checkpoint, whether it is there or not."""
        return self.value.path

    @property
    def meta(self) -> dict[str, Any]:
        """See `Weights.meta`."""
        return self.value.meta

    def load(self) -> Checkpoint:
        """See `Weights.load`."""
        return self.value.load()

    def get_state_dict(self) -> dict[str, Tensor]:
        """See `Weights.get_state_dict`."""
        return self.value.get_state_dict()


def resolve_weights(weights: str | os.PathLike[str] | ShipPlusPlus_Weights | Checkpoint | None = None) -> Checkpoint:
    """Find weights by name or path.

    Parameters
    ----------
    weights : str, path, ShipPlusPlus_Weights, Checkpoint, optional
        Name of a member in any case, with or without ``ShipPlusPlus_Weights.`` before it; a path, which has a folder
        or ends with ``.safetensors``; a member; or a checkpoint, which is given back. The default weights when
        left out.

    Returns
    -------
    Checkpoint
        Read and checked.

    Raises
    ------
    ArgumentError
        When a name is unknown; the message lists the legal ones.
    CheckpointError
        When the file is missing or damaged.
    """
    if isinstance(weights, Checkpoint):
        return weights
    if weights is None:
        return ShipPlusPlus_Weights.DEFAULT.load()
    if isinstance(weights, ShipPlusPlus_Weights):
        return weights.load()
    text = os.fspath(weights)
    member = ShipPlusPlus_Weights.__members__.get(text.rpartition(".")[2].upper())
    if member is not None:
        return member.load()
    is_path = isinstance(weights, os.PathLike) or text.endswith(_SUFFIX) or len(Path(text).parts) > 1
    if is_path or Path(text).is_file():
        return load_checkpoint(text)
    names = ", ".join(ShipPlusPlus_Weights.__members__)
    message = f"weights must be one of {names} or the path of a {_SUFFIX} file, got {text!r}; pass one of these"
    raise ArgumentError(message)


def _folder() -> Path:
    # The package is installed as files, never run from an archive: GDAL and torch need real paths as well.
    return Path(str(files("ship_geo"))) / "weights"
