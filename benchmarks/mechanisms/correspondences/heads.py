"""A head as those of methods whose targets come from the batch itself."""

from __future__ import annotations

from torch import nn


def normalized_head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear maps with a batch norm and a rectifier between them, as SwAV's and PixPro's.

    Without the norm a fresh head puts all rows into one narrow cone, where codes and weights by
    similarity hardly differ.
    """
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )
