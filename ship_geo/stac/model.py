"""The network behind an output, as fields of the mlm extension; a classical method has none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ship_geo.scene import Scene

SHA256 = "1220"
"""Multihash prefix: this function, 32 bytes."""


def model_fields(scene: Scene, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the network; nothing for a classical method."""
    if facts.get("kind") != "network":
        return {}

    def tensor(n_band: int) -> dict[str, Any]:
        shape = [-1, n_band, -1, -1]
        return {"shape": shape, "dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"}

    n_band, task = scene.ms.n_band, ["super-resolution"]
    settings = {key: facts[key] for key in ("window", "overlap") if facts.get(key) is not None}
    return {
        "mlm:name": _model_name(str(facts.get("model", ""))),
        "mlm:architecture": "SHIP++",
        "mlm:tasks": task,
        "mlm:framework": "PyTorch",
        "mlm:pretrained": True,
        "mlm:input": [
            {"name": "ms", "bands": [], "input": tensor(n_band), "description": "MS on its own grid"},
            {"name": "pan", "bands": [], "input": tensor(1), "description": "PAN"},
        ],
        "mlm:output": [{"name": "fused", "tasks": task, "result": tensor(n_band)}],
        **({"mlm:hyperparameters": settings} if settings else {}),
    }


def model_asset(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the asset of the weights."""
    # Weights are named by their content: where a machine keeps them is nobody's business.
    digest = str(facts["model_digest"])
    return {
        "href": f"urn:sha256:{digest}",
        "type": "application/octet-stream; application=safetensors",
        "title": "Weights, named by their SHA-256",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        "file:checksum": SHA256 + digest,
    }


def _model_name(name: str) -> str:
    legal = re.sub(r"[^a-zA-Z0-9_.\-\s]", "-", name.replace("+", "plus")).strip("-_. ")
    return legal if re.match(r"[a-zA-Z].+[a-zA-Z0-9]$", legal) else f"model {legal}".strip()
