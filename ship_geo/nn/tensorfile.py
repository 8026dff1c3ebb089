"""Read and write safetensors files that may come from anywhere.

A file is read once, whole, so that its digest belongs to the very bytes that were parsed. Nothing in it is executed:
pickled weights are refused. This module knows nothing of networks; see ``nn.checkpoint`` for what the header means.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ship_geo.errors import CheckpointError, OutputError

# Larger than any network of this package by two orders of magnitude; refuses a wrong file before it is in memory.
MAX_BYTES = 1 << 30
_LENGTH_BYTES = 8  # the file starts with the length of its JSON header, little-endian
_MAX_HEADER_BYTES = 16 << 20


@dataclass(frozen=True)
class TensorFile:
    """Content of a safetensors file.

    Parameters
    ----------
    path : Path
        Where it was read.
    digest : str
        SHA-256 of the file, hexadecimal.
    metadata : Mapping of str to str
        Free text of the header.
    tensors : Mapping of str to Tensor
        On the CPU.
    """

    path: Path
    digest: str
    metadata: Mapping[str, str]
    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)


def read_tensor_file(path: str | os.PathLike[str]) -> TensorFile:
    """Read a safetensors file.

    Parameters
    ----------
    path : path
        File to read.

    Returns
    -------
    TensorFile
        All tensors finite.

    Raises
    ------
    CheckpointError
        When the file is missing, unreadable, too large, truncated, no safetensors, or holds a NaN or an infinity.
    """
    path = Path(path)
    content = _read_bytes(path)
    metadata = _read_metadata(content, path)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise _damaged(path, str(error)) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.to(torch.float32)).all()):
            raise _damaged(path, f"NaN or infinity in {name!r}")
    return TensorFile(path, hashlib.sha256(content).hexdigest(), metadata, tensors)


def write_tensor_file(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Write a safetensors file, complete or not at all.

    Parameters
    ----------
    path : path
        File to write; an existing one is replaced in one step.
    tensors : Mapping of str to Tensor
        From any device.
    metadata : Mapping of str to str
        Free text for the header. With one key, equal content gives equal bytes.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    path = Path(path)
    content = save({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}, dict(metadata))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or error
        message = f"weights must go to a folder that can be written, got {str(path)!r} ({reason}); pass another path"
        raise OutputError(message) from error
    return path


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a path with a NUL character is a ValueError
        reason = getattr(error, "strerror", None) or error
        message = (
            f"weights must be a readable file, got {str(path)!r} ({reason}); check the path or install the weights"
        )
        raise CheckpointError(message) from error
    if len(content) > MAX_BYTES:
        message = f"weights must not exceed {MAX_BYTES} bytes, got {str(path)!r}; pass a checkpoint of this package"
        raise CheckpointError(message)
    return content


def _read_metadata(content: bytes, path: Path) -> dict[str, str]:
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) < _LENGTH_BYTES or length > min(len(content) - _LENGTH_BYTES, _MAX_HEADER_BYTES):
        raise _damaged(path, f"a header of {length} bytes in a file of {len(content)} bytes")
    try:
        header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"unreadable header: {error}") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "a header that is no table of tensors and text")
    return metadata


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"weights must be an intact safetensors file, got {str(path)!r} ({what}); fetch or save the file again"
    )
