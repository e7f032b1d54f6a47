"""Graphs of meshes and of nearest neighbours: encoder, augmentations, certified margins."""

from equivariant.nn.graphs.augmentations import (
    community_drop_probabilities,
    community_mask_probabilities,
    drop_edges,
    drop_nodes,
    mask_features,
)
from equivariant.nn.graphs.certified_margin import (
    certified_margin,
    certified_margin_loss,
    margin_directions,
)
from equivariant.nn.graphs.communities import communities, modularity
from equivariant.nn.graphs.encoder import GraphConvolution, GraphEncoder
from equivariant.nn.graphs.graph import Graph
from equivariant.nn.graphs.meta_paths import MetaPath, MetaPathEncoder, Relation, mesh_relations

__all__ = [
    "Graph",
    "GraphConvolution",
    "GraphEncoder",
    "MetaPath",
    "MetaPathEncoder",
    "Relation",
    "certified_margin",
    "certified_margin_loss",
    "communities",
    "community_drop_probabilities",
    "community_mask_probabilities",
    "drop_edges",
    "drop_nodes",
    "margin_directions",
    "mask_features",
    "mesh_relations",
    "modularity",
]
