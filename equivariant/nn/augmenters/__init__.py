"""Augmentations that are trained."""

from equivariant.nn.augmenters.group_augmenter import GroupAugmenter
from equivariant.nn.augmenters.mask_and_scale import MaskAndScale

__all__ = ["GroupAugmenter", "MaskAndScale"]
