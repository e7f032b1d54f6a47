"""Probes that are cheap enough to run while training: ridge regressions in closed form."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from equivariant.measure.representations.finite_numbers import check_finite
from equivariant.measure.representations.ridge import ridge
from equivariant.measure.representations.scores import regression_score
from equivariant.shapes import Float


def online_probe(
    train_y: Float[Tensor, "n d"],
    val_y: Float[Tensor, "m d"],
    *,
    train_label: Tensor,
    val_label: Tensor,
    train_rotation: Float[Tensor, "n 3 3"],
    val_rotation: Float[Tensor, "m 3 3"],
) -> dict[str, float]:
    """Class and absolute rotation by ridge regression on representations of single views.

    No state is kept between calls, so a resumed run logs what an uninterrupted one does.

    Args:
        train_y: Representations to fit on, shape (N, D).
        val_y: Representations of held-out objects, shape (M, D).
        train_label: Classes, shape (N,), int64.
        val_label: The same of the held-out objects.
        train_rotation: World from object, shape (N, 3, 3).
        val_rotation: The same.

    Returns:
        ``top1``: share of held-out views whose class is right. ``rotation_r2``: variance-weighted
        score of the nine matrix entries, zero for a blind predictor.

    Raises:
        ConventionError: A representation is not finite.
    """
    check_finite(train_y, "train_y")
    check_finite(val_y, "val_y")
    deviation = train_y.double().std(0).clamp(min=1e-6)
    x, x_val = train_y.double() / deviation, val_y.double() / deviation
    classes = int(max(train_label.max(), val_label.max())) + 1
    weight, offset = ridge(x, one_hot(train_label, classes).to(x))
    top1 = float(((x_val @ weight + offset).argmax(1) == val_label).double().mean())
    weight, offset = ridge(x, train_rotation.flatten(1).to(x))
    score = regression_score(x_val @ weight + offset, val_rotation.flatten(1).to(x))
    return {"top1": top1, "rotation_r2": score.r2}
