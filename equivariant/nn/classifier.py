"""Any encoder with a linear map to classes."""

from __future__ import annotations

from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Float


class Classifier(nn.Module):
    """Logits, an affine map of an encoder's representation.

        f(x) = W φ(x) + b

    As invariant or not as the encoder is: where representations are vectors that turn, f is not
    invariant.

    Args:
        encoder: Anything to (batch, ...) of ``encoder.dim`` numbers per entry: images, clouds.
        classes: Number of classes, at least 1.

    Raises:
        ConventionError: The encoder has no ``dim``, or classes below 1.

    Example:
        >>> import torch
        >>> from equivariant.nn import PointEncoderConfig
        >>> encoder = PointEncoderConfig("pointnet", width=8, dim=32).build()
        >>> Classifier(encoder, 10)(torch.randn(2, 100, 3)).shape
        torch.Size([2, 10])
    """

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        dim = getattr(encoder, "dim", None)
        if not isinstance(dim, int) or dim < 1:
            raise ConventionError(
                expected="an encoder that says the size of its representation as dim",
                got=f"{type(encoder).__name__} with dim {dim}",
                argument="encoder",
                advice="All encoders of equivariant.nn do; set encoder.dim on one of your own.",
            )
        if classes < 1:
            raise ConventionError(
                expected="at least 1 class",
                got=str(classes),
                argument="classes",
                advice="Digits have 10.",
            )
        self.encoder, self.classes, self.dim = encoder, classes, classes
        self.linear = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits, shape (batch, classes), of whatever the encoder takes.

        Raises:
            ShapeError: The encoder refuses x.
        """
        logits: Tensor = self.linear(self.encoder(x).flatten(1))
        return logits
