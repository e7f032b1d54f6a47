"""From representations, which are used, to embeddings, which are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Vector


class Projector(nn.Sequential):
    """Linear, batch normalization, rectifier, repeated; the last layer linear without bias.

    Args:
        inputs: Width of a representation.
        widths: Width of each layer, the last that of the embedding; one width is one linear map.

    Raises:
        ConventionError: A width is below 1, or there is none.

    Example:
        >>> Projector(256, (1024, 1024, 1024))(torch.randn(8, 256)).shape
        torch.Size([8, 1024])

    Source: Garrido et al. 2023, published code.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        if not widths or min(inputs, *widths) < 1:
            raise ConventionError(
                expected="at least one width, all at least 1",
                got=f"{inputs} to {tuple(widths)}",
                argument="widths",
                advice="The last width is that of the embedding.",
            )
        layers: list[nn.Module] = []
        for width in widths[:-1]:
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
            inputs = width
        layers.append(nn.Linear(inputs, widths[-1], bias=False))
        super().__init__(*layers)
        self.dim = widths[-1]


class SplitProjector(nn.Module):
    """One projector per part of the representation; embeddings are joined in the same order.

    Args:
        parts: Width of each part of the representation, in order; the invariant one first.
        widths: Widths of each part's projector; none, ``()``, leaves the part as it is, such as
            vectors that a projector would mix across their components.

    Raises:
        ConventionError: The numbers of parts and projectors differ.

    Example:
        >>> projector = SplitProjector((256, 256), [(1024, 1024, 1024)] * 2)
        >>> projector(torch.randn(8, 512)).shape
        torch.Size([8, 2048])
    """

    def __init__(self, parts: Sequence[int], widths: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if len(parts) != len(widths):
            raise ConventionError(
                expected=f"{len(parts)} lists of widths, one per part",
                got=str(len(widths)),
                argument="widths",
                advice="The first part is the invariant one.",
            )
        self.parts = tuple(parts)
        self.projectors = nn.ModuleList(
            Projector(part, width) if width else nn.Identity()
            for part, width in zip(parts, widths, strict=True)
        )
        self.dim = sum((part, *width)[-1] for part, width in zip(parts, widths, strict=True))

    def forward(self, y: Vector) -> Tensor:
        """Embeddings, shape (batch, dim), of representations, shape (batch, Σ parts)."""
        split = zip(self.projectors, y.split(self.parts, -1), strict=True)
        embeddings: list[Tensor] = [projector(part) for projector, part in split]
        return torch.cat(embeddings, -1)


class SharedProjector(nn.Module):
    """Several projectors that each see the whole representation; embeddings are joined in order.

    Args:
        inputs: Width of the representation.
        widths: Widths of each projector, at least one; the invariant one first.

    Raises:
        ConventionError: There is no projector, or a width is below 1.

    Example:
        >>> projector = SharedProjector(512, [(2048, 2048, 2048)] * 2)
        >>> projector(torch.randn(8, 512)).shape, projector.parts
        (torch.Size([8, 4096]), (512,))

    Source: the two heads of Devillers and Lefort 2023 (EquiMod).
    """

    def __init__(self, inputs: int, widths: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not widths:
            raise ConventionError(
                expected="at least one list of widths", got="none", argument="widths",
                advice="One per head.",
            )  # fmt: skip
        self.parts = (inputs,)
        self.projectors = nn.ModuleList(Projector(inputs, width) for width in widths)
        self.dim = sum(width[-1] for width in widths)

    def forward(self, y: Vector) -> Tensor:
        """Embeddings, shape (batch, dim), of representations, shape (batch, inputs)."""
        return torch.cat([projector(y) for projector in self.projectors], -1)
