"""Digits under transformations of the plane whose matrices are recorded."""

from datasets3d.digits.affnist import AffNist, read_affnist
from datasets3d.digits.digit_pairs import DigitPairs
from datasets3d.digits.digits import Digits
from datasets3d.digits.homography import HomographyLaw
from datasets3d.digits.idx import read_idx, read_mnist, write_idx
from datasets3d.digits.laws import (
    AffineLaw,
    AffNistLaw,
    PlaneLaw,
    RotationLaw,
    TruncatedHaarLaw,
    WideAffineLaw,
)
from datasets3d.digits.placement import ink_corners
from datasets3d.digits.transformed import TransformedDigits, transformed_digits
from datasets3d.digits.warping import move_pictures

__all__ = [
    "AffNist",
    "AffNistLaw",
    "AffineLaw",
    "DigitPairs",
    "Digits",
    "HomographyLaw",
    "PlaneLaw",
    "RotationLaw",
    "TransformedDigits",
    "TruncatedHaarLaw",
    "WideAffineLaw",
    "ink_corners",
    "move_pictures",
    "read_affnist",
    "read_idx",
    "read_mnist",
    "transformed_digits",
    "write_idx",
]
