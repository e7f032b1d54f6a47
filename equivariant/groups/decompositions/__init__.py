"""Factorizations of the elements of linear groups: polar, Iwasawa and KAK."""

from equivariant.groups.decompositions.base import Decomposition
from equivariant.groups.decompositions.iwasawa import Iwasawa
from equivariant.groups.decompositions.kak import KAK
from equivariant.groups.decompositions.polar import Polar
from equivariant.groups.decompositions.symmetric import symmetric_exp, symmetric_log

__all__ = ["KAK", "Decomposition", "Iwasawa", "Polar", "symmetric_exp", "symmetric_log"]
