"""Asking running nodes from a Python program: where is the surface, where is that point of it now."""
from .followed_surface import FollowedSurface
from .surface_client import SurfaceClient, SurfaceClientError

__all__ = ["FollowedSurface", "SurfaceClient", "SurfaceClientError"]
