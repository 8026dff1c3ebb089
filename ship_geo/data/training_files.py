"""What a network was trained on: every file by name and SHA-256, so that anyone can check what is in a set of weights.

The list travels in the training checkpoint; `pipelines/publish.py` writes it beside the weights, whose header holds the
digest of the list. The convention that could surprise: files are told apart by their content; names are without
folders, so that a list can be given away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ship_geo.data.chips import pack_sources
from ship_geo.errors import ArgumentError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class TrainingFiles:
    """Files behind a network.

    Attributes
    ----------
    train, validation
        Names by SHA-256, hexadecimal: files that changed weights, and files that were only measured meanwhile.
    unlisted
        SHA-256 of weights that training started from and that came without a list: nobody knows what is in them.
    """

    train: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, str] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()

    def __or__(self, other: TrainingFiles) -> TrainingFiles:
        """Return the files of both: a run that goes on has seen what it saw before."""
        unlisted = tuple(dict.fromkeys((*self.unlisted, *other.unlisted)))
        return TrainingFiles({**self.train, **other.train}, {**self.validation, **other.validation}, unlisted)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, files in the order of their names."""

        def listed(files: Mapping[str, str]) -> dict[str, str]:
            return dict(sorted(files.items(), key=lambda item: (item[1], item[0])))

        return {"train": listed(self.train), "validation": listed(self.validation), "unlisted": list(self.unlisted)}

    def to_json(self) -> str:
        """Return one line a file; equal lists give equal texts."""
        return json.dumps(self.to_dict(), indent=0, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` gave.

        Raises
        ------
        ArgumentError
            If the values are no such list.
        """
        try:
            train, validation = (dict(values[name].items()) for name in ("train", "validation"))
            return cls(train, validation, tuple(values["unlisted"]))
        except (KeyError, TypeError, AttributeError) as error:
            msg = f"a list of training files has entries train, validation and unlisted, got {error!r}; write it again"
            raise ArgumentError(msg) from error

    @classmethod
    def beside(cls, weights: Path) -> Self:
        """Read the list that was published with weights; one that says there is none where there is none.

        Raises
        ------
        ArgumentError
            If it is damaged.
        """
        path = list_path(weights)
        if not path.exists():
            return cls(unlisted=(digest_of(weights),))
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except ValueError as error:  # an ArgumentError is one, too
            msg = f"a list of training files is the JSON that pipelines/publish.py writes, got {path} ({error})"
            raise ArgumentError(f"{msg}; restore it, or delete it") from error


def list_path(weights: Path) -> Path:
    """Path of the list that belongs to weights."""
    return weights.with_suffix(".training.json")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_of_pack(path: Path) -> dict[str, str]:
    """Names by digest of the chips in a pack; of the pack itself where it does not tell."""
    return pack_sources(path) or {digest_of(path): path.name}


def files_at(paths: Iterable[str | Path]) -> dict[str, str]:
    """Names by digest of files, such as `ship_geo.scene.Scene.files`.

    Raises
    ------
    ArgumentError
        If one is not on this machine.
    """
    found = {}
    for path in map(Path, paths):
        if not path.is_file():
            msg = f"files to train on lie on this machine, so that they can be told apart, got {path}; copy it here"
            raise ArgumentError(msg)
        found[digest_of(path)] = path.name
    return found
