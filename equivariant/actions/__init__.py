"""Actions of groups on vectors: the one object that losses and measurements share."""

from equivariant.actions.base import Action, DirectSum, Factor
from equivariant.actions.irreps import IrrepsAction, wigner_d
from equivariant.actions.points import Points, Vectors
from equivariant.actions.trivial import Trivial

__all__ = [
    "Action",
    "DirectSum",
    "Factor",
    "IrrepsAction",
    "Points",
    "Trivial",
    "Vectors",
    "wigner_d",
]
