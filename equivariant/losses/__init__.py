"""One core for invariant and equivariant objectives; papers are settings of it."""

from equivariant.losses.collect import collect
from equivariant.losses.contrast import Contrast, contrast
from equivariant.losses.objective import Objective, ObjectiveValue, Term
from equivariant.losses.pairs import Pairs, Same
from equivariant.losses.presets import PRESETS, Preset, preset
from equivariant.losses.sides import Side
from equivariant.losses.similarity import Cosine, Dot, NegativeSquaredDistance, Similarity
from equivariant.losses.temperature import Fixed, Learned, Temperature
from equivariant.losses.terms import covariance, mean_squared_difference, variance

__all__ = [
    "PRESETS",
    "Contrast",
    "Cosine",
    "Dot",
    "Fixed",
    "Learned",
    "NegativeSquaredDistance",
    "Objective",
    "ObjectiveValue",
    "Pairs",
    "Preset",
    "Same",
    "Side",
    "Similarity",
    "Temperature",
    "Term",
    "collect",
    "contrast",
    "covariance",
    "mean_squared_difference",
    "preset",
    "variance",
]
