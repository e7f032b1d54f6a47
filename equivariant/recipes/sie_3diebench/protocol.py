"""The evaluation protocol of 3DIEBench on cached features of a frozen model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from datasets3d.pairs.threediebench import ThreeDIEBench
from equivariant.errors import ConventionError
from equivariant.groups import relative_quaternion_xyzw_of_angles, rotation_angle
from equivariant.measure import (
    Collapse,
    Features,
    ProbeConfig,
    collapse,
    color_probe,
    linear_probe,
    pair_error,
    prediction_retrieval_error,
    retrieval,
    rotation_probe,
)
from equivariant.recipes.sie_3diebench.models import Trained
from equivariant.workflows.measuring.run import ANGLE_BINS_DEG

FLOOR_HUE, SPOT_HUE = 3, 6


@dataclass(frozen=True)
class EvaluationConfig:
    """How a model is evaluated.

    Args:
        probe: How heads are trained.
        published_heads: Train the heads of the published protocol, whatever the number of
            objects, instead of those of ``probe``, of which the seed is kept.
        color_epochs: Epochs of the linear color head where it is trained in steps; 50 as in
            later papers.
        pairs_per_object: Fixed held-out pairs of each object.
        batch_size: Images encoded at once.
        device: Where to compute, as PyTorch names it.
    """

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    published_heads: bool = False
    color_epochs: int = 50
    pairs_per_object: int = 4
    batch_size: int = 1024
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.published_heads and self.probe != ProbeConfig(seed=self.probe.seed):
            raise ConventionError(
                expected="the published heads, or heads of your own",
                got="both", argument="published_heads",
                advice="Leave the settings of probe as they are, but for the seed.",
            )  # fmt: skip

    @property
    def heads(self) -> ProbeConfig:
        """The heads for class and rotation."""
        return ProbeConfig.published(seed=self.probe.seed) if self.published_heads else self.probe

    @property
    def color_head(self) -> ProbeConfig:
        """The head for color."""
        return replace(self.heads, epochs=self.color_epochs)


@dataclass(frozen=True)
class Encoded:
    """A split of a data set, seen by a model.

    Args:
        data: The split.
        y: Representations, shape (objects, views, dim).
        z: Embeddings, shape (objects, views, embedding dim).
        rotations: Absolute rotations, shape (objects, views, 3, 3), float64.
        angles_rad: Their extrinsic xyz Euler angles as recorded, shape (objects, views, 3).
        hues: Floor and light hue, shape (objects, views, 2).
    """

    data: ThreeDIEBench
    y: Tensor
    z: Tensor
    rotations: Tensor
    angles_rad: Tensor
    hues: Tensor

    def relative_xyzw(self, objects: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Relative quaternions of pairs of views, signed as the published targets."""
        return relative_quaternion_xyzw_of_angles(
            self.angles_rad[objects, first], self.angles_rad[objects, second]
        )

    def elements(self, trained: Trained, objects: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """g from first to second views as a model's action takes it, in the dtype of z."""
        g = trained.config.convention.between(
            self.rotations[objects, first],
            self.rotations[objects, second],
            self.hues[objects, second] - self.hues[objects, first],
            relative_xyzw=self.relative_xyzw(objects, first, second),
        )
        return g.to(self.z.dtype)


def encode(
    trained: Trained,
    data: ThreeDIEBench,
    config: EvaluationConfig,
    *,
    images: Tensor | None = None,
    size_px: int | None = None,
) -> Encoded:
    """Representations and embeddings of every view, computed once.

    Views that are not in memory are decoded batch by batch: what is kept are the vectors.

    Args:
        trained: The model.
        data: A split.
        config: Batch size and device.
        images: Its views, shape (objects, views, 3, height, width), uint8, if they are decoded
            already.
        size_px: Resize decoded views to this side; None keeps the files' size.
    """
    model = trained.model.to(config.device).eval()
    mean = torch.tensor(trained.channel_mean, device=config.device).view(3, 1, 1)
    std = torch.tensor(trained.channel_std, device=config.device).view(3, 1, 1)
    step = max(1, config.batch_size // data.views)
    ys, zs = [], []
    for start in range(0, len(data), step):
        chosen = range(start, min(start + step, len(data)))
        if images is None:
            batch = torch.from_numpy(data.load_images(objects=chosen, size_px=size_px))
        else:
            batch = images[chosen.start : chosen.stop]
        x = (batch.flatten(0, 1).to(config.device).float() / 255 - mean) / std
        with torch.no_grad():
            ys.append(model.represent(x.contiguous(memory_format=torch.channels_last)))
            zs.append(model.embed(ys[-1]))
    shape = (len(data), data.views)
    latents = torch.as_tensor(data.latents, device=config.device)
    return Encoded(
        data=data,
        y=torch.cat(ys).unflatten(0, shape),
        z=torch.cat(zs).unflatten(0, shape),
        rotations=torch.as_tensor(data.rotations, device=config.device),
        angles_rad=latents[..., :3],
        hues=latents[..., [FLOOR_HUE, SPOT_HUE]],
    )


def evaluate(
    trained: Trained, train: Encoded, val: Encoded, config: EvaluationConfig
) -> dict[str, Any]:
    """Every number of the protocol, each beside its chance or blind level.

    Args:
        trained: The model that encoded both splits.
        train: Training objects, for the heads.
        val: Held-out objects, for the scores.
        config: How.

    Returns:
        Nested dictionaries of numbers: ``parts`` by part of the representation, and, for a
        method with an action, ``retrieval``, ``pre``, ``action``.
    """
    labels = [torch.as_tensor(s.data.labels, device=s.y.device) for s in (train, val)]
    whole = [Features(s.y, label) for s, label in zip((train, val), labels, strict=True)]
    slices = {"all": slice(0, trained.model.encoder.dim), **trained.model.slices}
    pairs = fixed_pairs(val, config.pairs_per_object)
    result: dict[str, Any] = {
        "method": trained.config.method,
        "title": trained.config.title,
        "parts": {
            name: _probe_part(trained, [w.part(rows) for w in whole], (train, val), pairs, config)
            for name, rows in slices.items()
        },
    }
    if trained.action is not None:
        result.update(_measure_action(trained, val, pairs))
    return result


def fixed_pairs(val: Encoded, pairs_per_object: int) -> Tensor:
    """Rows (object, first view, second view) that are the same in every evaluation."""
    rows = val.data.fixed_pairs(pairs_per_object)
    return interleaved(torch.as_tensor(rows, device=val.y.device, dtype=torch.int64))


def interleaved(rows: Tensor) -> Tensor:
    """The first row of every object, then the second, and so on.

    The next row then shows another object, which is what an unrelated view is taken from.

    Args:
        rows: Object in the first column, shape (N, columns), int64.

    Example:
        >>> interleaved(torch.tensor([[0, 1], [0, 2], [1, 3], [1, 4]])).tolist()
        [[0, 1], [1, 3], [0, 2], [1, 4]]
    """
    order = rows[:, 0].argsort(stable=True)
    counts = torch.bincount(rows[:, 0]).tolist()
    rank = torch.cat([torch.arange(count, device=rows.device) for count in counts])
    return rows[order[rank.argsort(stable=True)]]


def _probe_part(
    trained: Trained,
    features: list[Features],
    splits: tuple[Encoded, Encoded],
    pairs: Tensor,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """Scores of class, rotation and color heads on one part of the representation."""
    train, val = features

    def color(split: Encoded) -> Any:
        return lambda o, i, j: split.hues[o, j] - split.hues[o, i]

    common = {"val_pairs": pairs}
    vectors = val.y.flatten(0, 1)
    spread: Collapse = collapse(vectors[: min(len(vectors), 4096)])
    return {
        "classification": asdict(
            linear_probe(train, val, classes=len(trained.labels), config=config.heads)
        ),
        "rotation": asdict(
            rotation_probe(
                train, val, train_target=splits[0].relative_xyzw,
                val_target=splits[1].relative_xyzw,
                config=config.heads, **common,
            )
        ),
        "color": asdict(
            color_probe(
                train, val, train_target=color(splits[0]), val_target=color(splits[1]),
                config=config.color_head, **common,
            )
        ),
        "collapse": asdict(spread),
    }  # fmt: skip


def elements_from_source(trained: Trained, split: Encoded, source: int = 0) -> Tensor:
    """g that takes one view of each object to each of its views, shape (objects, views, n, n)."""
    objects, views = (torch.arange(n, device=split.z.device) for n in split.z.shape[:2])
    first = torch.full_like(views, source)
    return split.elements(trained, objects[:, None], first[None], views[None])


def _measure_action(trained: Trained, val: Encoded, pairs: Tensor) -> dict[str, Any]:
    """Retrieval, prediction error and error by angle of an action on held-out views."""
    action = trained.action
    if action is None:
        return {}
    rows, part = action.slices[-1], action.summands[-1]
    z = val.z[..., rows]
    elements = elements_from_source(trained, val)
    with torch.no_grad():
        ranks = retrieval(part, z, elements)
        error = prediction_retrieval_error(part, z, elements, val.rotations)
        o, i, j = pairs.unbind(1)
        pose_a, pose_b = val.rotations[o, i], val.rotations[o, j]
        g = val.elements(trained, o, i, j)
        errors = pair_error(part, z[o, i], z[o, j], g)
        angle = rotation_angle(pose_b @ pose_a.transpose(-1, -2)).rad2deg()
        composed = composition_error(trained, z[o, i], g, g.roll(1, 0))
    curve = []
    for low, high in pairwise(ANGLE_BINS_DEG):
        inside = (angle >= low) & (angle < high)
        if int(inside.sum()) >= 10:
            curve.append(
                {
                    "angle_deg": float(angle[inside].mean()),
                    "pairs": int(inside.sum()),
                    "moved": float(errors.relative[inside].mean()),
                    "unmoved": float(errors.unmoved[inside].mean()),
                    "unrelated": float(errors.shuffled[inside].mean()),
                }
            )
    return {
        "retrieval": asdict(ranks),
        "pre": asdict(error),
        "action": {"error_by_angle": curve, **composed},
    }


def composition_error(trained: Trained, z: Tensor, g: Tensor, h: Tensor) -> dict[str, float]:
    """How far a learned action is from a group action: from composing, and from the identity.

    composition: mean of |ρ(g)ρ(h)z - ρ(gh)z| / |ρ(gh)z| for the better of the two orders gh, hg
    (elements in object axes multiply on the right); identity: mean of |ρ(e)z - z| / |z|.
    """
    action = trained.action
    if action is None:
        return {}
    part = action.summands[-1]
    twice = part(g, part(h, z))

    def difference(once: Tensor) -> float:
        return float(((twice - once).norm(dim=-1) / once.norm(dim=-1).clamp(min=1e-12)).mean())

    group = trained.config.convention.group
    still = part(group.identity(dtype=z.dtype, device=z.device), z)
    return {
        "composition": min(difference(part(g @ h, z)), difference(part(h @ g, z))),
        "identity": float(((still - z).norm(dim=-1) / z.norm(dim=-1).clamp(min=1e-12)).mean()),
    }
