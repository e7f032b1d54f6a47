"""Networks, and the learned action."""

from equivariant.nn.apen import (
    APENClassifier,
    APENConfig,
    APENEncoder,
    APENSegmenter,
    FixedPointSegmenter,
    MixturePartition,
    Partition,
    PiecewiseLayer,
    close_islands,
    farthest_point_partition,
    layer_loss,
    voronoi_partition,
)
from equivariant.nn.augmenters import GroupAugmenter, MaskAndScale
from equivariant.nn.canonical.canonicalizer import (
    CanonicalizedNetwork,
    CanonicalizerConfig,
    EnergyCanonicalizer,
)
from equivariant.nn.canonical.descent import DescentConfig
from equivariant.nn.canonical.pose_energy import PoseEnergy, PoseEnergyConfig, fit_energy
from equivariant.nn.classifier import Classifier
from equivariant.nn.frames.frame_average import FrameAverage, cloud_frames
from equivariant.nn.gaunt import (
    GauntConvolution,
    GauntPower,
    GauntSelfMix,
    GauntTensorProduct,
    expressivity_report,
    gaunt_product,
)
from equivariant.nn.graphs import (
    Graph,
    GraphConvolution,
    GraphEncoder,
    MetaPath,
    MetaPathEncoder,
    Relation,
    certified_margin,
    certified_margin_loss,
    communities,
    community_drop_probabilities,
    community_mask_probabilities,
    drop_edges,
    drop_nodes,
    margin_directions,
    mask_features,
    mesh_relations,
    modularity,
)
from equivariant.nn.heads.fixed_reweighting import FixedReweighting
from equivariant.nn.heads.gaussian_classifier import GaussianClassifier, choose_weight, ensembled
from equivariant.nn.hypernetwork import Hypernetwork, element_features
from equivariant.nn.images.conv_net import ConvNet, ConvNetConfig
from equivariant.nn.images.encoder import ImageEncoder, ImageEncoderConfig
from equivariant.nn.images.published_weights import load_sie_encoder
from equivariant.nn.images.pull_back import pull_back
from equivariant.nn.images.rotation_net import RotationConvNet, RotationConvNetConfig
from equivariant.nn.images.spatial_transformer import (
    SpatialTransformer,
    SpatialTransformerConfig,
)
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
from equivariant.nn.points.segmenter import PointSegmenter
from equivariant.nn.predictor import MLPPredictor
from equivariant.nn.projector import Projector, SharedProjector, SplitProjector
from equivariant.nn.split_model import SplitModel
from equivariant.nn.tokens import (
    CrossAttention,
    MessageEncoder,
    MessageLayer,
    ProductionSystem,
    RuleChoice,
)
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
    "APENClassifier",
    "APENConfig",
    "APENEncoder",
    "APENSegmenter",
    "CanonicalizedNetwork",
    "CanonicalizerConfig",
    "Classifier",
    "ConvNet",
    "ConvNetConfig",
    "CrossAttention",
    "DescentConfig",
    "DynamicGraphNetwork",
    "EdgeConvolution",
    "EnergyCanonicalizer",
    "FixedPointSegmenter",
    "FixedReweighting",
    "FrameAverage",
    "GauntConvolution",
    "GauntPower",
    "GauntSelfMix",
    "GauntTensorProduct",
    "GaussianClassifier",
    "Graph",
    "GraphConvolution",
    "GraphEncoder",
    "GroupAugmenter",
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
    "MLPPredictor",
    "MaskAndScale",
    "MessageEncoder",
    "MessageLayer",
    "MetaPath",
    "MetaPathEncoder",
    "MixturePartition",
    "Partition",
    "PiecewiseLayer",
    "PointEncoder",
    "PointEncoderConfig",
    "PointNet",
    "PointSegmenter",
    "PoseEnergy",
    "PoseEnergyConfig",
    "ProductionSystem",
    "ProjectConv",
    "Projector",
    "Relation",
    "RelativeSamples",
    "RotationConvNet",
    "RotationConvNetConfig",
    "RuleChoice",
    "SharedProjector",
    "SpatialTransformer",
    "SpatialTransformerConfig",
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
    "certified_margin",
    "certified_margin_loss",
    "choose_weight",
    "close_islands",
    "cloud_frames",
    "communities",
    "community_drop_probabilities",
    "community_mask_probabilities",
    "drop_edges",
    "drop_nodes",
    "element_features",
    "ensembled",
    "expressivity_report",
    "farthest_point_partition",
    "fit_energy",
    "gaunt_product",
    "layer_loss",
    "load_sie_encoder",
    "margin_directions",
    "mask_features",
    "mesh_relations",
    "modularity",
    "nearest_neighbors",
    "pull_back",
    "voronoi_partition",
]
