"""Nodes of several kinds: what meta-paths join, and what they pass through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.graphs.graph import Graph
from equivariant.shapes import Float, Int


@dataclass(frozen=True)
class Relation:
    """Which nodes of one kind belong to which of another.

    Args:
        source: Node of the kind ``of`` in each pair, shape (P,), int64.
        target: Its partner of the kind ``to``, shape (P,), int64.
        of: Name of the kind, for example "vertex".
        to: Name of the other kind.
        sizes: Number of nodes of either kind.

    Raises:
        ShapeError: The two lists are of unequal length.
        ConventionError: A number is no node.
    """

    source: Int[Tensor, " p"]
    target: Int[Tensor, " p"]
    of: str
    to: str
    sizes: tuple[int, int]

    def __post_init__(self) -> None:
        if self.source.ndim != 1 or self.source.shape != self.target.shape:
            raise ShapeError(
                expected="two lists of equal length",
                got=f"shapes {tuple(self.source.shape)} and {tuple(self.target.shape)}",
                argument="source", advice="Entry p of both is one pair.",
            )  # fmt: skip
        for name, nodes, size in zip(
            ("source", "target"), (self.source, self.target), self.sizes, strict=True
        ):
            if len(nodes) and not (int(nodes.min()) >= 0 and int(nodes.max()) < size):
                raise ConventionError(
                    expected=f"nodes 0 to {size - 1}", got=f"{nodes.min()} to {nodes.max()}",
                    argument=name, advice="sizes= are the numbers of nodes of either kind.",
                )  # fmt: skip

    def reversed(self) -> Relation:
        """The same pairs, seen from the other kind."""
        return Relation(self.target, self.source, self.to, self.of, self.sizes[::-1])

    def partners(self, nodes: Int[Tensor, " b"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """All partners of some nodes: places in ``nodes``, and the partners, shape (m,) each.

        Args:
            nodes: Of the kind ``of``, shape (b,), int64.
        """
        order = self.source.argsort(stable=True)
        count = torch.bincount(self.source, minlength=self.sizes[0])
        first, length = (torch.cumsum(count, 0) - count)[nodes], count[nodes]
        place = torch.arange(len(nodes), device=nodes.device).repeat_interleave(length)
        within = torch.arange(len(place), device=nodes.device)
        within = within - (torch.cumsum(length, 0) - length)[place]
        return place, self.target[order[first[place] + within]]

    def means(self, x: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """Mean over a node's partners, 0 where it has none.

        Args:
            x: Features of the kind ``to``, shape (m, d).

        Returns:
            One row for each node of the kind ``of``, shape (n, d).
        """
        sums = x.new_zeros(self.sizes[0], x.shape[1]).index_add(0, self.source, x[self.target])
        count = torch.bincount(self.source, minlength=self.sizes[0]).clamp_min(1)
        return sums / count[:, None].to(x)


@dataclass(frozen=True)
class MetaPath:
    """Relations one after the other, from a kind of nodes back to it.

    Args:
        relations: The kind that one leads to is that from which the next starts; the last leads
            to the kind of the first.

    Raises:
        ConventionError: There are fewer than two, or they do not fit.

    Example:
        >>> edge, face = mesh_relations(torch.tensor([[0, 1, 2], [2, 1, 3]]))
        >>> MetaPath.there_and_back(face).graph().edges.tolist()
        [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]

    Source: Yu et al. 2023 (MEOW): its coarse view is ``graph``, its fine one ``contexts``.
    """

    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        chain = self.relations
        good = len(chain) >= 2 and all(
            a.to == b.of and a.sizes[1] == b.sizes[0]
            for a, b in zip(chain, (*chain[1:], chain[0]), strict=True)
        )
        if not good:
            raise ConventionError(
                expected="two relations or more, each from the kind where the one before ends",
                got=", ".join(f"{r.of} to {r.to}" for r in chain) or "none",
                argument="relations", advice="MetaPath.there_and_back(relation) is one of two.",
            )  # fmt: skip

    @staticmethod
    def there_and_back(relation: Relation) -> MetaPath:
        """The path of a relation and its reverse: vertex, face, vertex."""
        return MetaPath((relation, relation.reversed()))

    @property
    def passed(self) -> tuple[str, ...]:
        """Kinds between the ends, in order."""
        return tuple(relation.to for relation in self.relations[:-1])

    def graph(self) -> Graph:
        """The coarse view: which nodes a path joins, not how or how often."""
        size = self.relations[0].sizes[0]
        start = node = torch.arange(size, device=self.relations[0].source.device)
        for relation in self.relations:
            walk, node = relation.partners(node)
            reached = torch.unique(torch.stack([start[walk], node], 1), dim=0)
            start, node = reached.unbind(1)
        return Graph.of(torch.stack([start, node], 1), size)

    def contexts(self, features: Mapping[str, Float[Tensor, "m d"]]) -> Float[Tensor, "n d"]:
        """The fine view: means of what the paths pass through, kind by kind.

            c = mean over first partners of (x_1 + mean over their partners of (x_2 + ...))

        Args:
            features: Of every kind that is passed, rows of one width.

        Returns:
            One row for each node at which paths begin, shape (n, d).

        Raises:
            ConventionError: A kind has no features.
        """
        missing = [kind for kind in self.passed if kind not in features]
        if missing:
            raise ConventionError(
                expected=f"features of {', '.join(self.passed)}",
                got=f"none of {missing[0]}", argument="features",
                advice="The kinds between the ends of the path are read.",
            )  # fmt: skip
        last = self.relations[-2]
        found = last.means(features[last.to])
        for relation in reversed(self.relations[:-2]):
            found = relation.means(features[relation.to] + found)
        return found


class MetaPathEncoder(nn.Module):
    """What meta-paths pass through, each path's share chosen by attention.

        z = Σ_p β_p tanh(c_p),   c_p contexts of path p with x_k W_k for each kind k
        β = softmax_p(mean over nodes of qᵀ tanh(c_p V + b))

    Args:
        widths: Columns of the features of each kind that is passed.
        outputs: Width of z.
        attention: Width in which paths are compared.

    Raises:
        ConventionError: A width is not positive.

    Source: after Wang et al. 2019 (HAN) and Yu et al. 2023 (MEOW); the definition is ours.
    """

    def __init__(self, widths: Mapping[str, int], outputs: int, *, attention: int = 16) -> None:
        super().__init__()
        if min([*widths.values(), outputs, attention]) < 1:
            raise ConventionError(
                expected="positive widths", got=str(dict(widths)), argument="widths",
                advice="One number of columns for each kind.",
            )  # fmt: skip
        self.maps = nn.ModuleDict({kind: nn.Linear(w, outputs) for kind, w in widths.items()})
        self.score = nn.Sequential(
            nn.Linear(outputs, attention), nn.Tanh(), nn.Linear(attention, 1, bias=False)
        )

    def forward(
        self, features: Mapping[str, Float[Tensor, "m d"]], paths: Sequence[MetaPath]
    ) -> Float[Tensor, "n e"]:
        """z, one row for each node at which the paths begin, shape (n, outputs).

        Args:
            features: Of the kinds that the encoder was made for.
            paths: At least one, all from one kind.

        Raises:
            ConventionError: A kind that is passed has no features.
        """
        mapped = {kind: self.maps[kind](x) for kind, x in features.items() if kind in self.maps}
        each = [path.contexts(mapped).tanh() for path in paths]
        share = torch.stack([self.score(c).mean() for c in each]).softmax(0)
        return sum((s * c for s, c in zip(share, each, strict=True)), torch.zeros_like(each[0]))


def mesh_relations(
    faces: Int[Tensor, "f k"], nodes: int | None = None
) -> tuple[Relation, Relation]:
    """To which edges and to which faces the vertices of a mesh belong.

    Args:
        faces: Corners of each face in cyclic order, shape (F, k), int64.
        nodes: Number of vertices; None is one more than the largest corner.

    Returns:
        Relations from "vertex" to "edge", numbered as in :meth:`Graph.of_mesh`, and from "vertex"
        to "face".

    Raises:
        ShapeError: Faces have fewer than three corners.
        ConventionError: A corner is no vertex.
    """
    graph = Graph.of_mesh(faces, nodes)
    return (
        _memberships(graph.edges, "edge", graph.nodes),
        _memberships(faces, "face", graph.nodes),
    )


def _memberships(groups: Tensor, name: str, nodes: int) -> Relation:
    number = torch.arange(len(groups), device=groups.device)[:, None].expand_as(groups)
    sizes = nodes, len(groups)
    return Relation(groups.flatten(), number.flatten(), "vertex", name, sizes)
