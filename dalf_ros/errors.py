"""Why a frame cannot be used."""
from __future__ import annotations


class SetupError(ValueError):
    """Wrong in every frame until somebody changes the set-up: told once, as an error. Other ValueErrors are one frame's own fault."""


class ImageError(ValueError):
    """An image message that cannot be read; the text says which, and why."""
