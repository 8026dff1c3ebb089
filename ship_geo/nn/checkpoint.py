"""A network on disk: its weights, and all that is needed to run it and to answer for it.

One safetensors file. Its header holds one JSON text under the key ``ship_geo``: kind and configuration of the network,
the window and overlap it must be run with, what it was trained on, the licence of the weights, measured figures, and
the version of this package that wrote it. Nothing is ever unpickled.

What could surprise: the whole file is checked when it is loaded, against the network that its header describes, before
any memory is taken for that network; a `Checkpoint` in hand can always be built.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

import ship_geo
from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, CheckpointError
from ship_geo.nn.registry import NETWORKS, Network, NetworkConfig
from ship_geo.nn.tensorfile import read_tensor_file, write_tensor_file

_HEADER_KEY = "ship_geo"
_MAX_SIZE = 4096  # of any whole number in a configuration
_MAX_WINDOW = 1 << 16

_FIELD_TYPES: Mapping[str, type] = {
    "kind": str,
    "config": dict,
    "window": int,
    "overlap": int,
    "trained_on": str,
    "licence": str,
    "metrics": dict,
    "version": str,
    "notes": dict,
}


class _Flaw(Exception):  # noqa: N818 - not an error of its own; becomes one with a remedy
    """A rule that the content of a checkpoint breaks, and by what."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Trained weights with their description.

    Parameters
    ----------
    kind : str
        Name of the network in ``ship_geo.nn.registry.NETWORKS``.
    config : ShipConfig or ShipPlusPlusConfig
        Its size and switches.
    window, overlap : int
        Side of the windows the network is run on, and what neighbours share, PAN pixels.
    trained_on : str
        Imagery the weights were trained on.
    licence : str
        Licence of the weights.
    metrics : Mapping of str to float
        Measured figures, by names that say on what.
    version : str
        Version of ship_geo that wrote the file.
    notes : Mapping of str to str
        Anything else worth keeping: recipe, seed, digest of the weights it was adapted from.
    path : Path
        File it was read from.
    digest : str
        SHA-256 of that file, hexadecimal: the identity of the weights.
    state : Mapping of str to Tensor
        Weights on the CPU, complete for the network.
    """

    kind: str
    config: NetworkConfig
    window: int
    overlap: int
    trained_on: str
    licence: str
    metrics: Mapping[str, float]
    version: str
    notes: Mapping[str, str]
    path: Path
    digest: str
    state: Mapping[str, Tensor] = dataclasses.field(repr=False, compare=False)

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Return what identifies the weights, so that equal ones make equal graphs."""
        return self.kind, self.digest


def save_checkpoint(
    path: PathLike,
    model: nn.Module,
    *,
    window: int,
    overlap: int,
    trained_on: str,
    licence: str,
    metrics: Mapping[str, float],
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Write the weights of a network with their description.

    Parameters
    ----------
    path : path
        File to write; an existing one is replaced in one step.
    model : Ship or ShipPlusPlus
        Network with float32 weights, on any device.
    window, overlap : int
        Side of the windows to run it on and what neighbours share, PAN pixels; an overlap of half a window at most.
    trained_on, licence : str
        Imagery it was trained on, licence of the weights.
    metrics : Mapping of str to float
        Measured figures.
    notes : Mapping of str to str, optional
        Anything else worth keeping.

    Returns
    -------
    Path
        The file. The same network and description give the same bytes.

    Raises
    ------
    ArgumentError
        When `model` is no network of this package, its weights are not finite, or the description is illegal.
    OutputError
        When the file cannot be written.
    """
    header: dict[str, Any] = {
        "kind": type(model).__name__,
        "config": dataclasses.asdict(model.config) if isinstance(model, Network) else {},
        "window": window,
        "overlap": overlap,
        "trained_on": trained_on,
        "licence": licence,
        "metrics": dict(metrics),
        "version": ship_geo.__version__,
        "notes": dict(notes or {}),
    }
    state = model.state_dict()
    try:
        _check_header(header)
        _check_state(state, header["kind"], _read_config(header["kind"], header["config"], len(state)))
    except _Flaw as flaw:
        message = f"{flaw}; correct it before saving the checkpoint"
        raise ArgumentError(message) from flaw
    return write_tensor_file(path, state, {_HEADER_KEY: json.dumps(header, sort_keys=True, ensure_ascii=False)})


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Read and check a checkpoint.

    Parameters
    ----------
    path : path
        File that `save_checkpoint` wrote.

    Returns
    -------
    Checkpoint
        Complete and consistent.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged, of another kind, or its weights do not fit the network it describes.
    """
    content = read_tensor_file(path)
    try:
        header = _parse_header(content.metadata)
        config = _read_config(header["kind"], header["config"], len(content.tensors))
        _check_state(content.tensors, header["kind"], config)
    except _Flaw as flaw:
        message = f"{flaw} in {str(content.path)!r}; fetch or save the checkpoint again"
        raise CheckpointError(message) from flaw
    header["metrics"] = {name: float(value) for name, value in header["metrics"].items()}
    described = header | {"config": config}
    return Checkpoint(**described, path=content.path, digest=content.digest, state=content.tensors)


def build_model(checkpoint: Checkpoint) -> Network:
    """Build the network of a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        Weights and configuration.

    Returns
    -------
    Ship or ShipPlusPlus
        A new network on the CPU with weights of its own, in evaluation mode, channels last. The state of torch's
        random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        model = NETWORKS[checkpoint.kind].build(checkpoint.config)
    model.load_state_dict(checkpoint.state)
    return model.eval().to(memory_format=torch.channels_last)


def _parse_header(metadata: Mapping[str, str]) -> dict[str, Any]:
    if _HEADER_KEY not in metadata:
        message = f"a checkpoint must have a header {_HEADER_KEY!r}, got {sorted(metadata)[:5]}"
        raise _Flaw(message)
    try:
        header = json.loads(metadata[_HEADER_KEY])
    except (ValueError, RecursionError) as error:
        message = f"the header of a checkpoint must be JSON, got {error}"
        raise _Flaw(message) from error
    _check_header(header)
    return header  # type: ignore[no-any-return]  # checked to be a dict


def _check_header(header: object) -> None:
    """Check names, types and ranges of all entries."""
    if not isinstance(header, dict) or header.keys() != _FIELD_TYPES.keys():
        names = sorted(header) if isinstance(header, dict) else type(header).__name__
        message = f"the header of a checkpoint must have the entries {sorted(_FIELD_TYPES)}, got {names}"
        raise _Flaw(message)
    for name, expected in _FIELD_TYPES.items():
        if type(header[name]) is not expected:
            message = f"{name} of a checkpoint must be a {expected.__name__}, got {_shorten(header[name])}"
            raise _Flaw(message)
    if header["kind"] not in NETWORKS:
        message = f"kind of a checkpoint must be one of {', '.join(NETWORKS)}, got {_shorten(header['kind'])}"
        raise _Flaw(message)
    window, overlap = header["window"], header["overlap"]
    if not (0 < window <= _MAX_WINDOW and 0 <= overlap <= window // 2):
        message = f"window must be positive and overlap at most half of it, got {_shorten((window, overlap))}"
        raise _Flaw(message)
    for name, value in header["metrics"].items():
        if type(name) is not str or not _is_finite_number(value):
            message = f"metrics of a checkpoint must be finite numbers by name, got {_shorten({name: value})}"
            raise _Flaw(message)
    for name, value in header["notes"].items():
        if type(name) is not str or type(value) is not str:
            message = f"notes of a checkpoint must be texts by name, got {_shorten({name: value})}"
            raise _Flaw(message)


def _read_config(kind: str, values: Mapping[str, object], n_tensor: int) -> NetworkConfig:
    """Rebuild a configuration from plain values, none of which is trusted."""
    config_class = NETWORKS[kind].config
    types = get_type_hints(config_class)
    legal = {field.name: types[field.name] for field in dataclasses.fields(config_class)}
    if values.keys() != legal.keys():
        message = f"config of a {kind} must have the entries {sorted(legal)}, got {_shorten(sorted(values))}"
        raise _Flaw(message)
    for name, value in values.items():
        if type(value) is not legal[name] or (isinstance(value, int) and not 0 <= value <= _MAX_SIZE):
            message = (
                f"{name} of a {kind} must be a {legal[name].__name__} of at most {_MAX_SIZE}, got {_shorten(value)}"
            )
            raise _Flaw(message)
    try:
        config = config_class(**values)  # type: ignore[arg-type]  # types were checked just now
    except ArgumentError as error:
        message = f"config of a {kind} must be legal, got {_shorten(values)} ({error})"
        raise _Flaw(message) from error
    # Each order of each stage has a tensor of its own; without this bound a header could ask for endless building.
    if config.n_stage * config.n_order > n_tensor:
        message = f"{config} must come with a tensor for each order of each stage, got {n_tensor} tensors"
        raise _Flaw(message)
    return config


def _check_state(state: Mapping[str, Tensor], kind: str, config: NetworkConfig) -> None:
    """Compare names, shapes, types and finiteness of all tensors with a network that has no storage."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        wanted = NETWORKS[kind].build(config).state_dict()
    strange = sorted(wanted.keys() ^ state.keys())
    if strange:
        message = f"a {kind} must have {len(wanted)} tensors, got {len(state)} which differ in {', '.join(strange[:3])}"
        raise _Flaw(message)
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            expected = f"{tuple(wanted[name].shape)} {wanted[name].dtype}"
            message = f"{name} of this {kind} must be {expected}, got {tuple(tensor.shape)} {tensor.dtype}"
            raise _Flaw(message)
        if not bool(torch.isfinite(tensor).all()):
            message = f"{name} of a {kind} must be finite, got NaN or infinity"
            raise _Flaw(message)


def _is_finite_number(value: object) -> bool:
    if type(value) not in (int, float):
        return False
    try:
        return math.isfinite(value)  # type: ignore[arg-type]  # a number by now
    except OverflowError:  # a whole number beyond float64
        return False


def _shorten(value: object, length: int = 200) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number with more digits than Python prints
        return "a number of very many digits"
    return text if len(text) <= length else text[:length] + "…"
