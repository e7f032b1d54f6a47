"""What the network is trained on: classes, and votes of every layer for centres of parts."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.apen.network import Prediction
from equivariant.nn.apen.partition import Partition
from equivariant.shapes import Float, Int


def layer_loss(
    prediction: Prediction,
    labels: Int[Tensor, batch * points],
    clouds: Float[Tensor, "batch points 3"] | None = None,
    *,
    parts: Int[Tensor, "batch points"] | None = None,
    votes: float = 1.0,
    certainty: float = 0.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of the logits, and at every layer how far votes are from centres of parts.

        CE(logits, labels) + v Σ_l mean_i |y_li - c_part(i)|_1 + w Σ_l mean_b -log(1 - δ_l) / cells

    c_p is the mean of the points of part p. The third term, which the paper has not, asks that
    draws of the partitions agree with the most probable one; its gradient goes through the
    mixture as ``APENConfig.gradient`` says.

    Args:
        prediction: Of a segmenter or a classifier.
        labels: Classes, shape (batch, points) for a segmenter, (batch,) for a classifier.
        clouds: The points, shape (batch, points, 3); needed where votes count.
        parts: Part of each point, shape (batch, points); None takes the labels, where parts are
            classes.
        votes: v, not negative.
        certainty: w, not negative.

    Returns:
        A number.

    Raises:
        ShapeError: Labels that do not fit the logits, or votes without clouds and parts.
        ConventionError: A negative weight.

    Example:
        >>> import torch
        >>> from equivariant.nn import APENConfig, APENSegmenter
        >>> segmenter = APENSegmenter(2, APENConfig(cells=8, widths=(8,), sigmas=(0.3,)))
        >>> clouds, labels = torch.randn(1, 50, 3), (torch.arange(50) % 2)[None]
        >>> layer_loss(segmenter(clouds), labels, clouds).item() > 0
        True

    Source: Atzmon et al. 2024, training with a loss on every layer.
    """
    _check(prediction, labels, votes, certainty)
    total = cross_entropy(prediction.logits.flatten(0, -2), labels.flatten())
    if votes:
        parts = labels if parts is None else parts
        if clouds is None or parts.shape != clouds.shape[:2]:
            raise ShapeError(
                expected="clouds, and a part for each of their points",
                got="None" if clouds is None else f"shape {tuple(parts.shape)}",
                argument="parts", advice="Or pass votes=0.",
            )  # fmt: skip
        centers = Partition(parts).means(clouds)
        for vote in prediction.votes:
            total = total + votes * (vote - centers).abs().sum(-1).mean()
    if certainty:
        for coarsening in prediction.encoding.coarsenings:
            cells = coarsening.finer.counts.to(total.dtype)
            total = total - certainty * (coarsening.log_certainty / cells).mean()
    return total


def _check(prediction: Prediction, labels: Tensor, votes: float, certainty: float) -> None:
    if labels.shape != prediction.logits.shape[:-1]:
        raise ShapeError(
            expected=f"labels of shape {tuple(prediction.logits.shape[:-1])}",
            got=f"{tuple(labels.shape)}", argument="labels",
            advice="One class per point, or per cloud.",
        )  # fmt: skip
    if min(votes, certainty) < 0:
        raise ConventionError(
            expected="weights that are not negative", got=f"{votes} and {certainty}",
            argument="votes", advice="0 leaves a term out.",
        )  # fmt: skip
