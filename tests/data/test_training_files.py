"""The list of files behind a network: by content, complete, and the same for the same files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ship_geo.data.chips import pack_sources
from ship_geo.data.training_files import TrainingFiles, digest_of, files_at, files_of_pack, list_path
from ship_geo.errors import ArgumentError, ProductError


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_list_goes_through_json_and_back_in_the_order_of_names() -> None:
    files = TrainingFiles({"bb": "b.tif", "aa": "c.tif"}, {"cc": "a.tif"}, ("dd",))
    text = files.to_json()
    assert TrainingFiles.from_dict(json.loads(text)) == files
    assert list(json.loads(text)["train"].values()) == ["b.tif", "c.tif"]
    assert text == TrainingFiles({"aa": "c.tif", "bb": "b.tif"}, {"cc": "a.tif"}, ("dd",)).to_json()


@pytest.mark.parametrize(
    "values", [{}, {"train": 3, "validation": {}, "unlisted": []}, {"train": {}, "validation": {}}]
)
def test_what_is_no_list_is_refused(values: dict) -> None:
    with pytest.raises(ArgumentError, match="has entries train, validation and unlisted, got"):
        TrainingFiles.from_dict(values)


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    for name, content in (("a.tif", b"one"), ("b.tif", b"two"), ("copy.tif", b"one")):
        (tmp_path / name).write_bytes(content)
    found = files_at(sorted(tmp_path.iterdir()))
    assert found == {sha(b"one"): "copy.tif", sha(b"two"): "b.tif"}
    with pytest.raises(ArgumentError, match=r"files to train on lie on this machine, .* got https"):
        files_at(["https://example.org/scene.tif"])


def test_pack_tells_its_chips_or_else_itself(tmp_path: Path) -> None:
    chips, named, bare = np.zeros((2, 4, 8, 8), np.uint8), tmp_path / "named.npz", tmp_path / "bare.npz"
    np.savez(named, chips=chips, city=["a", "b"], name=["x.tif", "y.tif"], sha256=["11", "22"])
    np.savez(bare, chips=chips, city=["a", "b"])
    assert files_of_pack(named) == {"11": "x.tif", "22": "y.tif"}
    assert files_of_pack(bare) == {sha(bare.read_bytes()): "bare.npz"}
    (tmp_path / "text.npz").write_text("no pack")
    with pytest.raises(ProductError, match="training reads a pack of chips, got"):
        pack_sources(tmp_path / "text.npz")


def test_weights_to_start_from_bring_their_list_along(tmp_path: Path) -> None:
    weights = tmp_path / "old.safetensors"
    weights.write_bytes(b"weights")
    assert TrainingFiles.beside(weights) == TrainingFiles(unlisted=(digest_of(weights),))
    files = TrainingFiles({"aa": "x.tif"}, {}, ("ff",))
    list_path(weights).write_text(files.to_json())
    assert TrainingFiles.beside(weights) == files
    list_path(weights).write_text("{")
    with pytest.raises(ArgumentError, match=r"is the JSON that pipelines/publish.py writes, got .*old.training.json"):
        TrainingFiles.beside(weights)
