"""What a run was made with, told in its metrics.json so that it can be repeated: options, weights, version."""
from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path
from typing import Any

from dalf_core import DALF

from ..conversions.message_factory import package_file
from ..conversions.transforms import RigidTransform


def told_options(options: argparse.Namespace) -> dict[str, Any]:
    """Every option with its value, also those that were left at their defaults, as JSON has them."""
    return {name: _told(value) for name, value in vars(options).items()}


def origin(dalf: DALF) -> dict[str, Any]:
    """What the options meant on this machine: the weights' file and its SHA-256, device, backend, precision, and this package's version."""
    return {"device": str(dalf.device), "backend": dalf.backend, "precision": dalf.precision, **_files(Path(dalf.weights))}


def weights_origin(weights: str | None) -> dict[str, Any]:
    """The same of the weights that are to be used, and the version, before anything is loaded. Raises WeightsError."""
    from dalf_core.weights import resolve

    return _files(resolve(weights or None))


def _files(weights: Path) -> dict[str, Any]:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None
    version = re.search(r"<version>(.*?)</version>", package_file(".", "package.xml").read_text(encoding="utf-8"))
    return {"weights": str(weights), "weights_sha256": digest, "version": version[1] if version else None}


def _told(value: Any) -> Any:
    if isinstance(value, RigidTransform):
        return {"rotation": value.rotation.tolist(), "translation": value.translation.tolist()}
    if isinstance(value, (tuple, list)):
        return [_told(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
