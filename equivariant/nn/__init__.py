"""Networks, and the learned action."""

from equivariant.nn.hypernetwork import Hypernetwork, element_features
from equivariant.nn.image_encoder import ImageEncoder, ImageEncoderConfig
from equivariant.nn.projector import Projector, SplitProjector
from equivariant.nn.published import load_sie_encoder
from equivariant.nn.split_model import SplitModel

__all__ = [
    "Hypernetwork",
    "ImageEncoder",
    "ImageEncoderConfig",
    "Projector",
    "SplitModel",
    "SplitProjector",
    "element_features",
    "load_sie_encoder",
]
