"""From points to features of parts, through partitions that grow coarser layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.actions import Declaration, Points, Trivial
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import E3, SE3, Group
from equivariant.nn.apen.mixture import Gradient
from equivariant.nn.apen.mixture_partition import Coarsening, MixturePartition
from equivariant.nn.apen.partition import Partition
from equivariant.nn.apen.piecewise_layer import PiecewiseLayer
from equivariant.nn.apen.seeds import close_islands, farthest_point_partition
from equivariant.nn.points.layers import Norm
from equivariant.nn.points.neighbors import check_clouds
from equivariant.shapes import Float


@dataclass(frozen=True)
class APENConfig:
    """A network that is approximately equivariant to motions of parts.

    Lengths are in the unit of the clouds, which should be about one unit in size.

    Args:
        group: What moves a part: SE3() or E3().
        cells: Cells of the first partition, at least 1.
        widths: Features of each layer; one layer per width, at least one.
        sigmas: Width of the mixture after each layer, rising; as many as widths.
        reach: Components of the mixture nearer than this many sigmas are merged.
        merging: Strength of the penalty on components that coincide, in [0, 0.05).
        iterations: Rounds of expectation and maximization, at least 1.
        islands: Points farther apart than this many median distances to the nearest point are
            never in one first cell; None lets first cells reach anywhere.
        resolution: Length below which the size of a cell does not count.
        norm: "batch" learns fastest; in evaluation clouds are independent of their batch all the
            same. "layer" is so in training too, but hides how large features are; or "none".
        stochastic: One frame drawn for each cell in training: faster, but what is evaluated is
            then not what was trained, and short trials learned less.
        gradient: Of the mixture: "detached" or "implicit".
        context: Give the head of a segmenter the maximum of all features over the whole cloud
            too. Still equivariant where partitions are right, but one wrong cell then
            reaches every point.
        hidden: Width of the heads' hidden layer, at least 1.
        dropout: In the heads, in [0, 1).
    """

    group: Group = field(default_factory=SE3)
    cells: int = 128
    widths: tuple[int, ...] = (32, 64, 64, 128)
    sigmas: tuple[float, ...] = (0.02, 0.04, 0.08, 0.16)
    reach: float = 1.5
    merging: float = 1e-2
    iterations: int = 20
    islands: float | None = 5.0
    resolution: float = 0.01
    norm: Norm = "batch"
    stochastic: bool = False
    gradient: Gradient = "detached"
    context: bool = False
    hidden: int = 128
    dropout: float = 0.0

    def build(self) -> APENEncoder:
        """The encoder, with fresh weights."""
        return APENEncoder(self)


@dataclass
class Encoding:
    """What an encoder found in a batch of clouds.

    Args:
        features: Numbers of every point that do not move, shape (batch, points, dim).
        votes: Of each layer, where every point sees the centre of its part, each of shape
            (batch, points, 3), in the unit of the clouds.
        partitions: First cells, then those after each layer; each refines the next.
        coarsenings: How each of them came about; empty entries are none.
    """

    features: Float[Tensor, "batch points dim"]
    votes: list[Tensor]
    partitions: tuple[Partition, ...]
    coarsenings: tuple[Coarsening, ...]

    @property
    def partition(self) -> Partition:
        """The last and coarsest partition: the predicted parts."""
        return self.partitions[-1]

    def keys(self) -> tuple[str, ...]:
        """Names of what an action moves: features and votes."""
        return ("features", "votes")

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)


class APENEncoder(nn.Module):
    """Features of points that ignore how parts move, and the parts, fine to coarse.

        Z_0 = farthest points,   (h_l, y_l) = layer_l(x, Z_{l-1}, h_{l-1}),   Z_l = mixture_l(y_l)

    Each layer is a network on every cell by itself (:class:`PiecewiseLayer`). Its votes y_l, one
    per point for the centre of its part, decide which cells become one
    (:class:`MixturePartition`), so that Z_0 refines Z_1 refines ... Z_L. A last layer works on
    Z_L. Features are those of all layers side by side.

    The output at a point depends on its cell of Z_L alone: on the positions of its points and on
    how earlier partitions cut it. Where that cell lies within one true part, and comes out the
    same after the parts have moved, the features stay and the votes move along, exactly; see
    :class:`equivariant.nn.apen.error_bound.ErrorBound` for what can be said in advance.

    It declares how it transforms: ``equivariance_error(encoder, clouds)`` moves whole clouds,
    with ``act_in=Piecewise(SE3(), parts)`` and ``act_out={"features": Trivial(encoder.dim)}``
    parts.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: A setting out of range.

    Example:
        >>> encoder = APENConfig(cells=8, widths=(8, 16), sigmas=(0.1, 0.3)).build().eval()
        >>> found = encoder(torch.randn(2, 100, 3))
        >>> found.features.shape, encoder.dim, found.partitions[0].refines(found.partition)
        (torch.Size([2, 100, 40]), 40, True)

    Source: Atzmon, Huang, Williams, Litany 2024, Approximately piecewise E(3) equivariant point
    networks.
    """

    def __init__(self, config: APENConfig | None = None) -> None:
        super().__init__()
        config = config or APENConfig()
        _check(config)
        self.config = config
        layers: list[nn.Module] = []
        before = 0
        for width in (*config.widths, config.widths[-1]):
            last = len(layers) == len(config.widths)
            layers.append(
                PiecewiseLayer(
                    before, 2 if layers else 0, width=width, vectors_out=0 if last else 1,
                    group=config.group, resolution=config.resolution, norm=config.norm,
                    stochastic=config.stochastic,
                )
            )  # fmt: skip
            before = width
        self.layers = nn.ModuleList(layers)
        self.mixtures = [
            MixturePartition(
                sigma, merging=config.merging, iterations=config.iterations,
                reach=config.reach, gradient=config.gradient,
            )
            for sigma in config.sigmas
        ]  # fmt: skip
        self.dim = sum(config.widths) + config.widths[-1]

    def forward(
        self, clouds: Float[Tensor, "batch points xyz"], known: Partition | None = None
    ) -> Encoding:
        """Features, votes and partitions.

        Args:
            clouds: Shape (batch, points, 3), about one unit in size.
            known: True parts, where they are known: first cells stay within them, votes of each
                are merged among themselves, and the last partition is them. Then the network is
                exactly equivariant to their motions, wherever they go.

        Raises:
            ShapeError: The last axis is not 3, there is no point, or parts of other points.
        """
        check_clouds(clouds)
        if known is not None and known.labels.shape != clouds.shape[:2]:
            raise ShapeError(
                expected=f"parts of points of shape {tuple(clouds.shape[:2])}",
                got=f"{tuple(known.labels.shape)}", argument="known",
                advice="Give labels of shape (batch, points).",
            )  # fmt: skip
        partition = self.first_partition(clouds, known)
        features: Tensor | None = None
        vectors: Tensor | None = None
        collected, votes, partitions, coarsenings = [], [], [partition], []
        for layer, mixture in zip(self.layers, self.mixtures, strict=False):
            features, moved = layer(clouds, partition, features, vectors=vectors)
            vote = clouds + moved[:, :, 0]
            coarsening = mixture(vote, partition, within=known)
            partition = coarsening.partition
            vectors = torch.stack([vote - clouds, partition.means(vote) - clouds], 2)
            collected.append(features)
            votes.append(vote)
            partitions.append(partition)
            coarsenings.append(coarsening)
        if known is not None:
            partition = partitions[-1] = known
            vectors = torch.stack([vote - clouds, partition.means(vote) - clouds], 2)
        last, _ = self.layers[-1](clouds, partition, features, vectors=vectors)
        return Encoding(
            torch.cat([*collected, last], -1), votes, tuple(partitions), tuple(coarsenings)
        )

    def first_partition(
        self, clouds: Float[Tensor, "batch points 3"], known: Partition | None = None
    ) -> Partition:
        """The finest cells: around farthest points, within islands.

        Args:
            clouds: Shape (batch, points, 3).
            known: True parts, which no cell leaves.
        """
        islands, reach = known, self.config.islands
        if known is None and reach is not None:
            islands = close_islands(clouds, reach)
        return farthest_point_partition(clouds, self.config.cells, islands=islands)

    def declaration(self, signal: Tensor) -> Declaration:
        """Under motions of the whole cloud features stay and votes move along.

        Args:
            signal: An input; only its presence matters.
        """
        group = self.config.group
        votes = [Points(group) for _ in self.config.widths]
        return Declaration(Points(group), {"features": Trivial(self.dim), "votes": votes})


def _check(config: APENConfig) -> None:
    rising = all(a <= b for a, b in zip(config.sigmas, config.sigmas[1:], strict=False))
    if not config.widths or len(config.widths) != len(config.sigmas) or not rising:
        raise ConventionError(
            expected="as many widths as sigmas, at least one, sigmas not falling",
            got=f"{config.widths} and {config.sigmas}", argument="config",
            advice="Each layer has a width and the sigma of the mixture after it.",
        )  # fmt: skip
    if config.group not in (SE3(), E3()):
        raise ConventionError(
            expected="SE3() or E3()", got=str(config.group), argument="config.group",
            advice="Parts move rigidly; E3() adds reflections.",
        )  # fmt: skip
    sizes = (config.cells, config.hidden, *config.widths)
    if min(sizes) < 1 or not 0 <= config.dropout < 1:
        raise ConventionError(
            expected="sizes of at least 1 and dropout in [0, 1)", got=str(config),
            argument="config", advice="The defaults suit clouds of 2,048 points.",
        )  # fmt: skip
