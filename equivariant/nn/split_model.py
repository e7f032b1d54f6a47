"""An encoder with projectors: what is trained by pairs."""

from __future__ import annotations

from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.nn.images.encoder import ImageEncoder
from equivariant.nn.projector import SharedProjector, SplitProjector
from equivariant.shapes import Images, Vector


class SplitModel(nn.Module):
    """Images to representations y, and representations to embeddings z, part by part.

    Args:
        encoder: Images to y.
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
    """

    def __init__(
        self,
        encoder: ImageEncoder,
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
        self.encoder = encoder
        self.projector = projector
        self.names = names

    def forward(self, images: Images) -> Tensor:
        """Embeddings z, shape (batch, projector.dim)."""
        return self.embed(self.represent(images))

    def represent(self, images: Images) -> Vector:
        """Representations y, shape (batch, encoder.dim): what is kept and used."""
        y: Vector = self.encoder(images)
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
