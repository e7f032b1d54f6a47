"""Networks, and the learned action."""

from equivariant.nn.dgcnn import DynamicGraphNetwork, EdgeConvolution
from equivariant.nn.frame_average import FrameAverage, cloud_frames
from equivariant.nn.gaunt import (
    GauntConvolution,
    GauntPower,
    GauntSelfMix,
    GauntTensorProduct,
    expressivity_report,
    gaunt_product,
)
from equivariant.nn.hypernetwork import Hypernetwork, element_features
from equivariant.nn.image_encoder import ImageEncoder, ImageEncoderConfig
from equivariant.nn.neighbors import nearest_neighbors
from equivariant.nn.point_encoder import PointEncoder, PointEncoderConfig
from equivariant.nn.point_net import PointNet
from equivariant.nn.projector import Projector, SharedProjector, SplitProjector
from equivariant.nn.published import load_sie_encoder
from equivariant.nn.split_model import SplitModel
from equivariant.nn.vector_layers import (
    VectorBlock,
    VectorInvariant,
    VectorLeakyReLU,
    VectorLinear,
    VectorMaxPool,
    VectorMeanPool,
    VectorNorm,
)
from equivariant.nn.vector_neurons import (
    VectorEdgeConvolution,
    VectorNeuronEncoder,
    VectorNeuronEncoderConfig,
)

__all__ = [
    "DynamicGraphNetwork",
    "EdgeConvolution",
    "FrameAverage",
    "GauntConvolution",
    "GauntPower",
    "GauntSelfMix",
    "GauntTensorProduct",
    "Hypernetwork",
    "ImageEncoder",
    "ImageEncoderConfig",
    "PointEncoder",
    "PointEncoderConfig",
    "PointNet",
    "Projector",
    "SharedProjector",
    "SplitModel",
    "SplitProjector",
    "VectorBlock",
    "VectorEdgeConvolution",
    "VectorInvariant",
    "VectorLeakyReLU",
    "VectorLinear",
    "VectorMaxPool",
    "VectorMeanPool",
    "VectorNeuronEncoder",
    "VectorNeuronEncoderConfig",
    "VectorNorm",
    "cloud_frames",
    "element_features",
    "expressivity_report",
    "gaunt_product",
    "load_sie_encoder",
    "nearest_neighbors",
]
