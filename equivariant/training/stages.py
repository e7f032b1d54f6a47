"""Stages: each learns what those before it did not tell apart."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.prototypes.k_means import k_means
from equivariant.runs import RunFolder, write_json
from equivariant.shapes import Int
from equivariant.training.config import FitConfig
from equivariant.training.learners.pairs import Learner
from equivariant.training.loop import fit
from equivariant.training.resume.randomness import step_generator
from equivariant.training.rows import RowStream

Embed = Callable[[nn.Module, Mapping[str, Tensor]], Tensor]
"""From a stage's model and all fields to one row for each, shape (N, D)."""


class StagedModel(nn.Module):
    """The models of all stages; an embedding is theirs side by side, each of length 1.

    Args:
        models: One for each stage.
    """

    def __init__(self, models: list[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, sum of the widths); of what every stage's model takes.

        Args:
            x: Input of the models.
        """
        return torch.cat([normalize(model(x), dim=1) for model in self.stages], 1)


def composed(first: Int[Tensor, " n"], second: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Groups of rows that agree in both labels, numbered from 0.

    Args:
        first: Shape (N,), int64.
        second: Shape (N,), int64.

    Raises:
        ShapeError: The lengths differ.

    Example:
        >>> composed(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 6, 5, 5])).tolist()
        [0, 1, 2, 2]
    """
    if first.shape != second.shape:
        raise ShapeError(
            expected=f"labels of {len(first)} rows", got=f"shape {tuple(second.shape)}",
            argument="second", advice="One label for each row.",
        )  # fmt: skip
    cell: Tensor = torch.unique(torch.stack([first, second], 1), dim=0, return_inverse=True)[1]
    return cell


def fit_stages(
    make: Callable[[int], Learner],
    fields: Mapping[str, Tensor],
    config: FitConfig,
    *,
    folder: Path,
    embed: Embed,
    stages: int,
    clusters: int,
    seed: int = 0,
    header: dict[str, Any] | None = None,
    progress: bool = True,
) -> StagedModel:
    """Train one model after the other, each contrasting only what those before find alike.

        stage s:  batches within one cell of (c_0, ..., c_(s-1)),   then  c_s = k-means(model_s(x))

    Each stage is a run of :func:`equivariant.training.fit` in ``folder/stage_s``; clusters follow
    from its weights, so that the whole goes on exactly where it was stopped, when it is called
    again. (The published code composes the present stage's clusters with themselves; here a cell
    is a cluster of *every* earlier stage.)

    Args:
        make: The learner of a stage; its first weights should depend on the stage alone.
        fields: What batches are made of, one entry for each of N rows; see
            :class:`equivariant.training.RowStream`.
        config: Of every stage.
        folder: Where the runs lie; made if it is not there.
        embed: Rows that are clustered, as unit vectors; the model is in evaluation mode.
        stages: At least 1.
        clusters: Of each stage, at least 1.
        seed: Of batches, draws and clusters.
        header: As for ``fit``; every stage's weights file has it.
        progress: Show bars.

    Returns:
        The trained models, in evaluation mode.

    Raises:
        ConventionError: Stages or clusters are out of range; or as for ``fit``.
        TrainingStopped: A signal ended a stage.

    Source: Zhang et al. 2024 (MCL, learning the unlearned), 10 clusters for each stage.
    """
    if stages < 1 or clusters < 1:
        raise ConventionError(
            expected="at least one stage and one cluster",
            got=f"stages={stages}, clusters={clusters}", argument="stages",
            advice="Three stages of ten clusters are usual.",
        )  # fmt: skip
    cell = torch.zeros(len(next(iter(fields.values()))), dtype=torch.int64)
    models: list[nn.Module] = []
    for stage in range(stages):
        path = folder / f"stage_{stage}"
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "config.json", config)
        rows = RowStream(fields, seed=seed + stage, within=cell if stage else None)
        learner = fit(
            make(stage), rows, config, run=RunFolder(path), header=header, progress=progress,
            seed=seed, identity={"stage": stage, "cells": zlib.crc32(cell.numpy().tobytes())},
        )  # fmt: skip
        models.append(learner.model.eval())
        with torch.no_grad():
            z = normalize(embed(learner.model, fields).cpu(), dim=1)
        found = k_means(z, clusters, generator=step_generator(seed, stage))
        cell = composed(cell, found)
    return StagedModel(models)
