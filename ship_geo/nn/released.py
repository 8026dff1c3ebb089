"""Names of the tensors in the authors' release of SHIP, and what they are called here.

Only names are translated, and one shape: the released central-difference weights are stored as ``(n, n, 1, 5)``.
The release carries no licence; nothing of it is part of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ship_geo.errors import CheckpointError
from ship_geo.nn.tensorfile import read_tensor_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_PAIR = {"0": "0", "2": "2"}  # a convolution pair or a gate: two layers around a ReLU
_EDGE = {
    "process": "enter",
    "Res.0": "pair.0",
    "Res.2": "pair.2",
}
_CROSS = {
    "CDC.HP_branch": "cross.blend",
    "CDC.h_conv.conv.weight": "cross.plus.weight",
    "CDC.d_conv.conv.weight": "cross.diagonal.weight",
}
_MIX = {"p": "permutation", "sign_s": "sign", "lower": "lower", "upper": "upper", "log_s": "log_scale"}
_HALF_INSTANCE = {"conv_1": "enter", "norm": "norm", "conv_2": "leave", "identity": "skip"}


def released_names(*, n_stage: int = 3, n_order: int = 4) -> dict[str, str]:
    """Return the name here of every released tensor.

    Parameters
    ----------
    n_stage, n_order : int
        Size of the network, see ``ShipConfig``.

    Returns
    -------
    dict of str to str
        Released name to the key of ``Ship.state_dict()``, one to one.
    """
    names = dict(_stem_names("vis", "ms_stem")) | dict(_stem_names("inf", "pan_stem"))
    for stage in range(n_stage):
        released, ours = f"interaction{stage + 1}", f"stages.{stage}"
        names |= dict(_spatial_names(f"{released}.spatial", f"{ours}.spatial", n_order))
        names |= dict(_channel_names(f"{released}.channel", f"{ours}.channel", n_order))
    return names | dict(_head_names())


def read_released(
    path: str | Path, shapes: Mapping[str, tuple[int, ...]], *, n_stage: int, n_order: int
) -> dict[str, Tensor]:
    """Read released weights under the names of ``Ship``.

    Parameters
    ----------
    path : path
        Safetensors file of the release.
    shapes : Mapping of str to tuple of int
        Shape of every tensor of the network that is to be filled.
    n_stage, n_order : int
        Size of that network.

    Returns
    -------
    dict of str to Tensor
        A complete state.

    Raises
    ------
    CheckpointError
        When the file is unreadable, or its tensors are not those of the release.
    """
    tensors = read_tensor_file(path).tensors
    names = released_names(n_stage=n_stage, n_order=n_order)
    strange = sorted(names.keys() ^ tensors.keys())
    if strange:
        message = (
            f"released weights must hold {len(names)} known tensors, got {len(tensors)} in {str(path)!r} "
            f"which differ in {', '.join(strange[:3])}; pass the infrared-visible weights of the release"
        )
        raise CheckpointError(message)
    state = {ours: tensors[released] for released, ours in names.items()}
    for name, tensor in state.items():
        if tensor.numel() != _count(shapes[name]):
            message = (
                f"released tensor {name!r} must have shape {shapes[name]}, got {tuple(tensor.shape)}; "
                "pass the infrared-visible weights of the release"
            )
            raise CheckpointError(message)
    return {name: tensor.reshape(shapes[name]) for name, tensor in state.items()}


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _layers(released: str, ours: str, layers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for theirs, here in layers.items():
        for part in ("weight", "bias"):
            yield f"{released}.{theirs}.{part}", f"{ours}.{here}.{part}"


def _tensors(released: str, ours: str, tensors: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for theirs, here in tensors.items():
        yield f"{released}.{theirs}", f"{ours}.{here}"


def _stem_names(released: str, ours: str) -> Iterator[tuple[str, str]]:
    yield from _layers(released, ours, {"conv": "enter"})
    for edge in range(2):
        yield from _layers(f"{released}.block{edge + 1}", f"{ours}.edges.{edge}", _EDGE)
        yield from _tensors(f"{released}.block{edge + 1}", f"{ours}.edges.{edge}", _CROSS)


def _spatial_names(released: str, ours: str, n_order: int) -> Iterator[tuple[str, str]]:
    for order in range(n_order):
        yield from _layers(released, ours, {f"norm{order + 1}.body": f"norms.{order}"})
    for step in range(n_order - 1):
        yield from _layers(f"{released}.reflashFused{step + 1}", f"{ours}.fused_steps.{step}", _PAIR)
        yield from _layers(f"{released}.reflashInfrared{step + 1}", f"{ours}.pan_steps.{step}", _PAIR)


def _channel_names(released: str, ours: str, n_order: int) -> Iterator[tuple[str, str]]:
    yield from _layers(f"{released}.chaAtten", f"{ours}.gates.0", _PAIR)
    for step in range(n_order - 1):
        yield from _layers(f"{released}.reflashChaAtten{step + 1}", f"{ours}.gates.{step + 1}", _PAIR)
        yield from _layers(f"{released}.reflashFused{step + 1}", f"{ours}.steps.{step}", _PAIR)
    yield from _coupling_names(f"{released}.postprocess.0", f"{ours}.coupling")
    yield from _layers(released, ours, {"postprocess.1": "leave"})


def _coupling_names(released: str, ours: str) -> Iterator[tuple[str, str]]:
    yield from _tensors(f"{released}.invconv", f"{ours}.mix", _MIX)
    for theirs, here in (("F", "f"), ("G", "g"), ("H", "h")):
        for block in range(2):
            yield from _layers(f"{released}.{theirs}.conv{block + 1}", f"{ours}.{here}.grow.{block}", _HALF_INSTANCE)
        yield from _layers(f"{released}.{theirs}", f"{ours}.{here}", {"conv3": "merge"})


def _head_names() -> Iterator[tuple[str, str]]:
    yield from _coupling_names("postprocess.0", "head.coupling")
    yield from _layers("postprocess", "head", {"1": "merge"})
    yield from _layers("reconstruction", "head", {"conv_in": "enter", "conv_last": "leave"})
    for offset in range(2):
        released, ours = f"reconstruction.process.{offset}", f"head.offsets.{offset}"
        yield from _layers(f"{released}.process", f"{ours}.pair", _PAIR)
        yield from _layers(f"{released}.conv_du", f"{ours}.gate", _PAIR)
