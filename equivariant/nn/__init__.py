"""Networks, and the learned action."""

from equivariant.nn.dgcnn import DynamicGraphNetwork, EdgeConvolution
from equivariant.nn.hypernetwork import Hypernetwork, element_features
from equivariant.nn.image_encoder import ImageEncoder, ImageEncoderConfig
from equivariant.nn.neighbors import nearest_neighbors
from equivariant.nn.point_encoder import PointEncoder, PointEncoderConfig
from equivariant.nn.point_net import PointNet
from equivariant.nn.projector import Projector, SplitProjector
from equivariant.nn.published import load_sie_encoder
from equivariant.nn.split_model import SplitModel

__all__ = [
    "DynamicGraphNetwork",
    "EdgeConvolution",
    "Hypernetwork",
    "ImageEncoder",
    "ImageEncoderConfig",
    "PointEncoder",
    "PointEncoderConfig",
    "PointNet",
    "Projector",
    "SplitModel",
    "SplitProjector",
    "element_features",
    "load_sie_encoder",
    "nearest_neighbors",
]
