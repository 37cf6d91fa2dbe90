"""Non-rigid registration of a surface to depth: deformation graph, energy, solver."""
from .nonrigid import NonRigidRegistration

__all__ = ["NonRigidRegistration"]
