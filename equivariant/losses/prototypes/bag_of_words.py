"""Bags of visual words: which words of a vocabulary an image contains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_positive, check_rows, check_share
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.processes import mean_over_rows
from equivariant.shapes import Bool, Float


@torch.no_grad()
@in_full_precision
def bag_of_words(
    features: Float[Tensor, "n places d"],
    words: Float[Tensor, "k d"],
    scale: Float[Tensor, ""],
    *,
    sharpness: float = 15.0,
    keep: Bool[Tensor, "#n places"] | None = None,
) -> Float[Tensor, "n k"]:
    """Distribution over words: soft assignment at every place, the maximum over places, sum 1.

        a_pk = softmax_k(-(sharpness/scale) |f_p - w_k|²),   b_k = max_p a_pk,   code = b / Σ_k b_k

    Args:
        features: Shape (N, places, D), a feature map with its places in one axis.
        words: Shape (K, D), the vocabulary, K >= 1.
        scale: Typical squared distance of a feature to its nearest word, above 0;
            :class:`BagOfWords` keeps it as a running mean.
        sharpness: Inverse temperature in units of scale.
        keep: Shape (N, places) or (1, places), the places that count; False on the border, say.

    Returns:
        Shape (N, K), rows sum to 1; without gradient, float32 or wider.

    Raises:
        ShapeError: No words.
        ConventionError: An image without a place that counts, or sharpness or scale not positive.

    Example:
        >>> words = torch.tensor([[0.0], [10.0], [20.0]])
        >>> features = torch.tensor([[[0.0], [0.0], [20.0]]])
        >>> bag_of_words(features, words, torch.tensor(1.0))
        tensor([[0.5000, 0.0000, 0.5000]])

    Source: Gidaris et al. 2021 (OBoW).
    """
    _check(words, keep)
    check_positive(sharpness, "sharpness", "The usual value is 15.")
    check_positive(float(scale), "scale", "It is a mean of squared distances.")
    return _code(_squared_distances(features, words), sharpness / scale, keep)


class BagOfWords(nn.Module):
    """:func:`bag_of_words` with the running mean of the distance to the nearest word.

    In training scale ← momentum · scale + (1 - momentum) · mean_p min_k |f_p - w_k|² is
    taken before the code is made; the first batch sets it. The mean is over all processes.

    Args:
        sharpness: As for :func:`bag_of_words`.
        momentum: Weight of the old scale, in [0, 1].

    Raises:
        ConventionError: An argument is out of range, or the first call is in evaluation.

    Example:
        >>> codes = BagOfWords()
        >>> codes(torch.randn(4, 9, 8), torch.randn(32, 8)).shape
        torch.Size([4, 32])

    Source: Gidaris et al. 2021 (OBoW).
    """

    scale: Tensor
    batches: Tensor

    def __init__(self, *, sharpness: float = 15.0, momentum: float = 0.99) -> None:
        super().__init__()
        check_positive(sharpness, "sharpness", "The usual value is 15.")
        check_share(momentum, "momentum", "The usual value is 0.99.")
        self.sharpness, self.momentum = sharpness, momentum
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def forward(
        self,
        features: Float[Tensor, "n places d"],
        words: Float[Tensor, "k d"],
        *,
        keep: Bool[Tensor, "#n places"] | None = None,
    ) -> Float[Tensor, "n k"]:
        """Codes as of :func:`bag_of_words`, of the same arguments."""
        return self._codes(features, words, keep)

    @in_full_precision
    def _codes(self, features: Tensor, words: Tensor, keep: Tensor | None) -> Tensor:
        _check(words, keep)
        square = _squared_distances(features, words)
        if self.training:
            nearest = square.amin(2)
            counted = nearest.flatten() if keep is None else nearest[keep.expand_as(nearest)]
            mean = mean_over_rows(counted)
            weight = 1.0 - self.momentum if int(self.batches) else 1.0
            self.scale.lerp_(mean.to(self.scale), weight)
            self.batches += 1
        if not int(self.batches):
            raise ConventionError(
                expected="a scale, which the first batch in training sets",
                got="a module that has seen no batch",
                argument="self",
                advice="Call it in training mode first, or load its state.",
            )
        least = torch.finfo(square.dtype).eps
        return _code(square, self.sharpness / self.scale.to(square).clamp_min(least), keep)


def _squared_distances(features: Tensor, words: Tensor) -> Tensor:
    lengths = features.square().sum(2, keepdim=True) + words.square().sum(1)
    return (lengths - 2.0 * features @ words.T).clamp_min(0.0)


def _code(square: Tensor, sharpness: Tensor, keep: Tensor | None) -> Tensor:
    soft = (-sharpness * square).softmax(2)
    if keep is not None:
        soft = soft.masked_fill(~keep[..., None], 0.0)
    most = soft.amax(1)
    return most / most.sum(1, keepdim=True)


def _check(words: Tensor, keep: Tensor | None) -> None:
    check_rows(words, 1, "words")
    if keep is not None and not bool(keep.any(1).all()):
        raise ConventionError(
            expected="at least one place that counts in every image",
            got="an image with none",
            argument="keep",
            advice="Drop the border of larger maps only.",
        )
