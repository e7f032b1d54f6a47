"""What recipes on rendered views share: data that are looked over, and a probe while training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from datasets3d import ThreeDIEBench, TransformPairs
from equivariant.errors import ConventionError
from equivariant.measure import collapse, online_probe

PROBED_OBJECTS = 2048
SPLITS: tuple[Literal["train", "val"], ...] = ("train", "val")


def check_batch(objects: int, batch_size: int, *, option: str = "--fit.batch-size") -> None:
    """Raise ConventionError if a batch is larger than the data.

    Args:
        objects: Training objects; a batch shows each of them at most once.
        batch_size: Pairs per step.
        option: That sets it.
    """
    if batch_size > objects:
        raise ConventionError(
            expected=f"batches of at most {objects} pairs, one of each training object",
            got=str(batch_size), argument=option,
            advice=f"Pass {option} {objects} or less, or build more objects.",
        )  # fmt: skip


def say_missing(splits: Iterable[ThreeDIEBench], say: Callable[[str], None] | None) -> None:
    """Say how many listed objects are not there.

    Args:
        splits: Of a data set.
        say: Receives one line for each split with missing objects; None says nothing.
    """
    for data in splits:
        if data.missing and say is not None:
            listed = len(data) + len(data.missing)
            say(
                f"{len(data.missing)} of {listed} objects listed in {data.split}_images.npy are "
                f"missing and left out, the first {data.missing[0]}"
            )


def held_out_probe(pairs: TransformPairs) -> Callable[[nn.Module], dict[str, float]]:
    """A probe for ``fit``: linear scores on one view each of training and held-out objects.

    Args:
        pairs: The training pairs; views of at most ``PROBED_OBJECTS`` objects of each split are
            prepared as theirs.

    Returns:
        A function of a model with ``represent``.
    """
    batches = []
    for split in SPLITS:
        data = ThreeDIEBench(pairs.dataset.root, split)
        views = TransformPairs(
            data, in_memory=False, mean=pairs.mean, std=pairs.std, size_px=pairs.size_px
        )
        rows = data.fixed_pairs(1)
        batches.append(views.batch(rows[:: max(1, len(rows) // PROBED_OBJECTS)]))
    train_batch, val_batch = batches

    def probe(model: nn.Module) -> dict[str, float]:
        represent: Any = model.represent
        device = next(model.parameters()).device
        with torch.no_grad():
            y, y_val = (represent(batch.a.to(device)).cpu() for batch in batches)
        spread = collapse(y_val)
        scores = online_probe(
            y, y_val, train_label=_known(train_batch.label), val_label=_known(val_batch.label),
            train_rotation=_known(train_batch.pose_a), val_rotation=_known(val_batch.pose_a),
        )  # fmt: skip
        return {**scores, "effective_rank": spread.effective_rank, "dead": spread.dead}

    return probe


def _known(value: Tensor | None) -> Tensor:
    """Labels or poses, empty where the data have none."""
    return torch.empty(0) if value is None else value
