"""An encoder with projectors: what is trained by pairs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.nn.projector import SharedProjector, SplitProjector
from equivariant.shapes import Vector


@runtime_checkable
class Encoder(Protocol):
    """A module from inputs to representations, which says their size as ``dim``."""

    dim: int

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """Representations, shape (batch, dim), of inputs, shape (batch, ...)."""
        ...


class SplitModel(nn.Module):
    """Inputs to representations y, and representations to embeddings z, part by part.

    Args:
        encoder: Inputs to y: a module with ``dim``, as all encoders of :mod:`equivariant.nn` are.
        projector: y to z; its parts add up to the encoder's width. One part is no split, and a
            shared projector has one part.
        names: What the parts are called, the invariant one first.

    Raises:
        ConventionError: The widths do not fit, or parts and names differ in number.

    Example:
        >>> import torch
        >>> from equivariant.nn import ImageEncoderConfig
        >>> encoder = ImageEncoderConfig(width=8).build()
        >>> projector = SplitProjector((32, 32), [(64, 64), (64, 64)])
        >>> model = SplitModel(encoder, projector, names=("invariant", "equivariant"))
        >>> model(torch.rand(4, 3, 32, 32)).shape, model.slices["equivariant"]
        (torch.Size([4, 128]), slice(32, 64, None))

    A Lie network's vectors move by the linear part of its group, and are compared as they are:

        >>> from equivariant.groups import SL
        >>> from equivariant.nn import LieNetworkConfig
        >>> encoder = LieNetworkConfig(SL(2), width=8, blocks=1, outputs=None, vectors=2).build()
        >>> model = SplitModel(
        ...     encoder, SplitProjector((8, 4), [(16, 16), ()]), names=("invariant", "vectors")
        ... )
        >>> model(torch.rand(4, 1, 28, 28)).shape
        torch.Size([4, 20])
    """

    def __init__(
        self,
        encoder: Encoder,
        projector: SplitProjector | SharedProjector,
        *,
        names: tuple[str, ...],
    ) -> None:
        super().__init__()
        if sum(projector.parts) != encoder.dim or len(names) != len(projector.parts):
            raise ConventionError(
                expected=f"parts that add up to {encoder.dim}, each with a name",
                got=f"parts {projector.parts} and names {names}",
                argument="projector",
                advice="Half and half is the paper's split.",
            )
        self.encoder: Encoder = encoder
        self.projector = projector
        self.names = names

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings z, shape (batch, projector.dim), of what the encoder takes."""
        return self.embed(self.represent(inputs))

    def represent(self, inputs: Tensor) -> Vector:
        """Representations y, shape (batch, encoder.dim): what is kept and used."""
        y: Vector = self.encoder(inputs)
        return y

    def embed(self, y: Vector) -> Tensor:
        """Embeddings of representations: what the objective compares."""
        z: Tensor = self.projector(y)
        return z

    @property
    def slices(self) -> dict[str, slice]:
        """Which entries of y each named part has."""
        ends = [sum(self.projector.parts[: k + 1]) for k in range(len(self.names))]
        starts = [0, *ends[:-1]]
        return {name: slice(a, b) for name, a, b in zip(self.names, starts, ends, strict=True)}
