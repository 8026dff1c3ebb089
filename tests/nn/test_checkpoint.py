from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

import ship_geo
from ship_geo.errors import ArgumentError, CheckpointError, OutputError
from ship_geo.nn import Ship, ShipConfig, ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.checkpoint import build_model, load_checkpoint, save_checkpoint

DESCRIPTION: dict[str, Any] = {
    "window": 64,
    "overlap": 16,
    "trained_on": "synthetic stripes, Überflug",
    "licence": "CC0-1.0",
    "metrics": {"ergas/val": 1.25, "steps": 3},
    "notes": {"seed": "4"},
}


def small_ship() -> Ship:
    torch.manual_seed(1)
    return Ship(ShipConfig(n_band=2, n_feature=4, n_stage=1, n_order=2, n_growth=2))


def small_ship_plus_plus() -> ShipPlusPlus:
    torch.manual_seed(2)
    model = ShipPlusPlus(
        ShipPlusPlusConfig(n_band=2, n_in=6, n_guide=2, n_feature=4, n_order=2, n_stage=2, evolve=False)
    )
    nn.init.normal_(model.out.weight)
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {"Ship": small_ship, "ShipPlusPlus": small_ship_plus_plus}


@pytest.fixture(params=list(NETWORKS))
def model(request: pytest.FixtureRequest) -> nn.Module:
    return NETWORKS[request.param]()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "weights.safetensors", small_ship(), **DESCRIPTION)


def rewrite(
    path: Path,
    header: Callable[[dict[str, Any]], Any] | None = None,
    tensors: Callable[[dict[str, torch.Tensor]], Any] | None = None,
) -> None:
    """Change the description or the tensors of a checkpoint without any of its checks."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + length])["__metadata__"]["ship_geo"]
    state, described = load_file(path), json.loads(text)
    if header is not None:
        described = header(described) or described
    if tensors is not None:
        tensors(state)
    path.write_bytes(save(state, {"ship_geo": described if isinstance(described, str) else json.dumps(described)}))


def write_raw(path: Path, header: object, data: bytes = b"") -> None:
    """Write the bytes of a safetensors file by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def assert_refused(path: Path, what: str) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert re.search(r"must .*, got .*; ", message, re.DOTALL), message
    assert path.name in message
    assert len(message) < 2000


def test_loaded_network_computes_the_same(tmp_path: Path, model: nn.Module) -> None:
    file = save_checkpoint(tmp_path / "a.safetensors", model, **DESCRIPTION)
    rebuilt = build_model(load_checkpoint(file))
    assert type(rebuilt) is type(model)
    assert rebuilt.config == model.config
    assert not rebuilt.training
    inputs = [torch.rand(1, n, 12, 9) for n in ((2, 1) if isinstance(model, Ship) else (6, 2))]
    with torch.inference_mode():
        torch.testing.assert_close(rebuilt(*inputs), model.eval()(*inputs), atol=1e-5, rtol=1e-5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[name], tensor)


def test_description_comes_back(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    for name, value in DESCRIPTION.items():
        assert getattr(checkpoint, name) == value
    assert checkpoint.kind == "Ship"
    assert checkpoint.version == ship_geo.__version__
    assert checkpoint.path == path
    assert checkpoint.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.__dask_tokenize__() == ("Ship", checkpoint.digest)


def test_same_network_gives_the_same_bytes(tmp_path: Path, path: Path) -> None:
    again = save_checkpoint(tmp_path / "again.safetensors", small_ship(), **DESCRIPTION)
    assert again.read_bytes() == path.read_bytes()


def test_channels_last_network_can_be_saved(tmp_path: Path, path: Path) -> None:
    model = small_ship().to(memory_format=torch.channels_last)
    assert save_checkpoint(tmp_path / "b.safetensors", model, **DESCRIPTION).read_bytes() == path.read_bytes()


def test_checkpoint_travels_to_another_process(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    assert pickle.loads(pickle.dumps(checkpoint)) == checkpoint


def test_built_networks_do_not_share_weights(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    first, second = build_model(checkpoint), build_model(checkpoint)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in second.parameters())
    assert torch.equal(second.state_dict()["head.leave.weight"], checkpoint.state["head.leave.weight"])


def test_loading_and_building_leave_the_random_generator_alone(path: Path) -> None:
    before = torch.get_rng_state()
    build_model(load_checkpoint(path))
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_replaces_in_one_step_and_leaves_no_other_file(path: Path) -> None:
    save_checkpoint(path, small_ship_plus_plus(), **DESCRIPTION)
    assert load_checkpoint(path).kind == "ShipPlusPlus"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_saving_into_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"got .*missing.*; pass another path"):
        save_checkpoint(tmp_path / "missing" / "a.safetensors", small_ship(), **DESCRIPTION)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"window": 0}, "window must be positive"),
        ({"window": 64.0}, "window .* must be a int"),
        ({"overlap": 33}, "overlap at most half"),
        ({"overlap": -1}, "overlap at most half"),
        ({"licence": None}, "licence .* must be a str"),
        ({"metrics": {"ergas": float("nan")}}, "metrics .* must be finite"),
        ({"metrics": {"ergas": "1"}}, "metrics .* must be finite"),
        ({"notes": {"seed": 4}}, "notes .* must be texts"),
    ],
)
def test_illegal_description_is_refused_before_writing(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    with pytest.raises(ArgumentError, match=f"{what}.*, got .*; correct it"):
        save_checkpoint(tmp_path / "a.safetensors", small_ship(), **(DESCRIPTION | change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["foreign", "nan", "double"])
def test_illegal_network_is_refused_before_writing(tmp_path: Path, fault: str) -> None:
    model: nn.Module = nn.Linear(2, 2) if fault == "foreign" else small_ship()
    if fault == "nan":
        nn.init.constant_(model.head.leave.bias, float("nan"))
    if fault == "double":
        model = model.double()
    what = {"foreign": "kind .* got 'Linear'", "nan": "head.leave.bias .* finite", "double": "float64"}[fault]
    with pytest.raises(ArgumentError, match=what):
        save_checkpoint(tmp_path / "a.safetensors", model, **DESCRIPTION)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere.safetensors", "No such file")


def test_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "directory")


def test_name_with_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a readable file"):
        load_checkpoint(tmp_path / "a\0b")


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1])
def test_truncated_file_is_refused(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    assert_refused(path, "intact safetensors")


def test_additional_bytes_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 16)
    assert_refused(path, "intact safetensors")


def test_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (tmp_path / "exploded").touch, ()

    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Bomb()))
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pth")
    assert_refused(tmp_path / "weights.pt", "intact safetensors")
    assert_refused(tmp_path / "weights.pth", "intact safetensors")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"\xff\xfe\xfd",
        b"[" * 200_000,
        [],
        {"__metadata__": []},
        {"__metadata__": {"ship_geo": 3}},
        {"a": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 63]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}},
        {"a": 3},
    ],
    ids=lambda header: str(header)[:40],
)
def test_malformed_container_is_refused(tmp_path: Path, header: object) -> None:
    write_raw(tmp_path / "a.safetensors", header, b"\0" * 4)
    assert_refused(tmp_path / "a.safetensors", "intact safetensors")


def test_header_length_beyond_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    assert_refused(tmp_path / "a.safetensors", "header of 18446744073709551615 bytes")


def test_safetensors_of_someone_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save({"a": torch.zeros(2)}, {"format": "pt"}))
    assert_refused(tmp_path / "a.safetensors", "must have a header 'ship_geo', got .*format")


@pytest.mark.parametrize("text", ["nonsense", "[" * 100_000, "3", "null", "{}", "[]"])
def test_description_that_is_no_table_is_refused(path: Path, text: str) -> None:
    rewrite(path, header=lambda _: text)
    assert_refused(path, "header of a checkpoint must")


@pytest.mark.parametrize(
    ("entry", "value", "what"),
    [
        ("kind", "ResNet", "one of Ship, ShipPlusPlus, ShipSharpening, got 'ResNet'"),
        ("kind", ["Ship"], "kind .* must be a str"),
        ("window", -5, "window must be positive"),
        ("window", 10**30, "window must be positive"),
        ("window", "64", "window .* must be a int"),
        ("window", True, "window .* must be a int"),
        ("window", float("nan"), "window .* must be a int"),
        ("overlap", 64, "overlap at most half"),
        ("licence", {"a": 1}, "licence .* must be a str"),
        ("metrics", {"ergas": float("nan")}, "metrics .* must be finite"),
        ("metrics", {"ergas": float("inf")}, "metrics .* must be finite"),
        ("metrics", {"ergas": 10**400}, "metrics .* must be finite"),
        ("metrics", {"ergas": [1]}, "metrics .* must be finite"),
        ("metrics", [1.0], "metrics .* must be a dict"),
        ("notes", {"a": 1}, "notes .* must be texts"),
        ("trained_on", 3, "trained_on .* must be a str"),
        ("surprise", 3, "must have the entries"),
        ("config", [], "config .* must be a dict"),
        ("config", {}, "config of a Ship must have the entries"),
    ],
)
def test_illegal_description_is_refused(path: Path, entry: str, value: object, what: str) -> None:
    rewrite(path, header=lambda described: described.update({entry: value}))
    assert_refused(path, what)


def test_missing_entry_of_the_description_is_refused(path: Path) -> None:
    rewrite(path, header=lambda described: described.pop("licence") and None)
    assert_refused(path, "must have the entries")


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize(
    ("entry", "value", "what"),
    [
        ("n_feature", 10**9, "n_feature .* at most"),
        ("n_stage", 4096, "n_stage|tensor for each order"),
        ("n_order", 4096, "n_order|tensor for each order"),
        ("n_feature", 8, "must be .*got"),
        ("n_feature", 2048, "must be .*got"),
        ("n_feature", 8.0, "n_feature .* must be a int"),
        ("n_feature", "8", "n_feature .* must be a int"),
        ("n_feature", True, "n_feature .* must be a int"),
        ("n_feature", None, "n_feature .* must be a int"),
        ("n_feature", -4, "n_feature"),
        ("n_band", 0, "config|n_band"),
        ("n_stage", 3, "tensors, got"),
        ("surprise", 1, "must have the entries"),
    ],
)
def test_illegal_config_is_refused(tmp_path: Path, kind: str, entry: str, value: object, what: str) -> None:
    path = save_checkpoint(tmp_path / "a.safetensors", NETWORKS[kind](), **DESCRIPTION)
    rewrite(path, header=lambda described: described["config"].update({entry: value}))
    assert_refused(path, what)


def test_number_of_endless_digits_is_refused(path: Path) -> None:
    rewrite(path, header=lambda d: json.dumps(d).replace('"n_feature": 4', '"n_feature": ' + "1" * 5000))
    assert_refused(path, "must be JSON")


def test_weights_of_another_kind_are_refused(path: Path) -> None:
    config = {**vars(small_ship_plus_plus().config)}
    rewrite(path, header=lambda described: described.update({"kind": "ShipPlusPlus", "config": config}))
    assert_refused(path, "a ShipPlusPlus must have .* tensors")


def test_missing_tensor_is_named(path: Path) -> None:
    rewrite(path, tensors=lambda state: state.pop("head.leave.weight"))
    assert_refused(path, r"differ in head\.leave\.weight")


def test_additional_tensor_is_named(path: Path) -> None:
    rewrite(path, tensors=lambda state: state.update({"surprise": torch.zeros(1)}))
    assert_refused(path, "differ in surprise")


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.zeros(3), r"head\.leave\.bias of this Ship must be \(2,\) torch\.float32, got \(3,\)"),
        (torch.zeros(2, dtype=torch.float64), r"got \(2,\) torch\.float64"),
        (torch.zeros(2, dtype=torch.int64), r"got \(2,\) torch\.int64"),
        (torch.tensor([0.0, float("nan")]), r"NaN or infinity in 'head\.leave\.bias'"),
        (torch.tensor([0.0, float("-inf")]), r"NaN or infinity in 'head\.leave\.bias'"),
    ],
    ids=["shape", "double", "integer", "nan", "infinity"],
)
def test_wrong_tensor_is_named(path: Path, tensor: torch.Tensor, what: str) -> None:
    rewrite(path, tensors=lambda state: state.update({"head.leave.bias": tensor}))
    assert_refused(path, what)
