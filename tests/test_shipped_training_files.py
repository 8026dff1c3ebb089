"""What the shipped weights were trained on: open imagery, each file by its content, nothing that is only measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ship_geo.data.training_files import TrainingFiles, digest_of, list_path
from ship_geo.nn.weights import ShipPlusPlus_Weights

FOR_TRAINING = ("naip/train", "scenes/open")
FOR_VALIDATION = ("naip/val", "scenes/open")
NEVER = ("scenes/measure_only", "ivif", "ship_reference")

each_member = pytest.mark.parametrize("member", list(ShipPlusPlus_Weights))


def files_of(member: ShipPlusPlus_Weights) -> TrainingFiles:
    return TrainingFiles.from_dict(json.loads(list_path(member.path).read_text()))


def digests_in(root: Path, folders: tuple[str, ...]) -> set[str]:
    found = {digest_of(path) for name in folders for path in (root / name).rglob("*") if path.is_file()}
    assert found
    return found


@each_member
def test_list_is_complete_and_the_one_that_the_weights_name(member: ShipPlusPlus_Weights) -> None:
    files = files_of(member)
    assert files.train
    assert not files.unlisted
    assert not set(files.train) & set(files.validation)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in (*files.train, *files.validation))
    named = member.load().notes.get("training_files")  # the first weights are older than the lists
    assert named in (None, hashlib.sha256(list_path(member.path).read_bytes()).hexdigest())


@pytest.mark.real_data
@each_member
def test_shipped_weights_were_trained_on_open_imagery_alone(member: ShipPlusPlus_Weights, data_root: Path) -> None:
    files = files_of(member)
    forbidden = digests_in(data_root, NEVER)
    assert not (set(files.train) | set(files.validation)) & forbidden
    assert set(files.train) <= digests_in(data_root, FOR_TRAINING)
    assert set(files.validation) <= digests_in(data_root, FOR_VALIDATION)
