"""The official code (verlab/DALF_CVPR_2023), loaded from a checkout of it. Nothing of it is part of this repository."""
from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_to_path(folder: Path) -> None:
    """Make a checkout importable. Its import of torchvision is never used, so an empty module stands in. ValueError: it is no checkout."""
    if not (folder / "modules" / "models" / "DALF.py").is_file():
        raise ValueError(f"{folder} is no checkout of verlab/DALF_CVPR_2023 (modules/models/DALF.py is missing)")
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]      # type: ignore[attr-defined]
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def official_extractor(folder: Path, weights: str) -> Any:
    """The official DALF_extractor on the CPU; weights: path of the official checkpoint."""
    import torch

    add_to_path(folder)
    from modules.models.DALF import DALF_extractor

    return DALF_extractor(str(weights), torch.device("cpu"))


def official_ransac(folder: Path) -> Callable[..., Any]:
    """The official nr_RANSAC(reference (M, 2), target (M, 2), device): (M,) bool."""
    add_to_path(folder)
    from modules.tps.RANSAC import nr_RANSAC

    return nr_RANSAC
