"""Networks, and the learned action."""

from equivariant.nn.frames.frame_average import FrameAverage, cloud_frames
from equivariant.nn.gaunt import (
    GauntConvolution,
    GauntPower,
    GauntSelfMix,
    GauntTensorProduct,
    expressivity_report,
    gaunt_product,
)
from equivariant.nn.hypernetwork import Hypernetwork, element_features
from equivariant.nn.images.encoder import ImageEncoder, ImageEncoderConfig
from equivariant.nn.images.published_weights import load_sie_encoder
from equivariant.nn.lie import (
    GroupConv,
    GroupPool,
    LieField,
    LieNetwork,
    LieNetworkConfig,
    LieSamples,
    LiftConv,
    ProjectConv,
    RelativeSamples,
)
from equivariant.nn.points.dgcnn import DynamicGraphNetwork, EdgeConvolution
from equivariant.nn.points.encoder import PointEncoder, PointEncoderConfig
from equivariant.nn.points.neighbors import nearest_neighbors
from equivariant.nn.points.point_net import PointNet
from equivariant.nn.projector import Projector, SharedProjector, SplitProjector
from equivariant.nn.split_model import SplitModel
from equivariant.nn.vectors.encoder import (
    VectorEdgeConvolution,
    VectorNeuronEncoder,
    VectorNeuronEncoderConfig,
)
from equivariant.nn.vectors.layers import (
    VectorBlock,
    VectorInvariant,
    VectorLeakyReLU,
    VectorLinear,
    VectorMaxPool,
    VectorMeanPool,
    VectorNorm,
)

__all__ = [
    "DynamicGraphNetwork",
    "EdgeConvolution",
    "FrameAverage",
    "GauntConvolution",
    "GauntPower",
    "GauntSelfMix",
    "GauntTensorProduct",
    "GroupConv",
    "GroupPool",
    "Hypernetwork",
    "ImageEncoder",
    "ImageEncoderConfig",
    "LieField",
    "LieNetwork",
    "LieNetworkConfig",
    "LieSamples",
    "LiftConv",
    "PointEncoder",
    "PointEncoderConfig",
    "PointNet",
    "ProjectConv",
    "Projector",
    "RelativeSamples",
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
