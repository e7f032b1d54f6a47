"""Clouds of bodies in motion, with the part of every point and the motion of every part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from datasets3d.bodies.body import Body
from datasets3d.bodies.splits import Frame
from datasets3d.clouds.piece_clouds import PieceClouds
from datasets3d.motion.motion import RecordedMotion
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError, check_option


def body_clouds(
    motions: Mapping[str, RecordedMotion],
    frames: Sequence[Frame],
    *,
    bodies: Sequence[Body],
    points: int = 2048,
    samples: int = 4,
    subjects: Literal["drawn", "all"] = "drawn",
    centred: bool = True,
    inner: bool = True,
    seed: int = 0,
) -> PieceClouds:
    """Bodies in the poses of recorded motions.

    Each body is sampled ``samples`` times at rest; every cloud takes one of these samples, drawn,
    and moves it by one element of SE3 per part, so part labels and motions are exact and clouds
    of one sample correspond point by point. Labels are the numbers of the bodies: for telling
    subjects apart with poses that training has not seen, make one set from the frames of each
    split, with ``subjects="all"``.

    Args:
        motions: By name, on skeletons with the bones of the bodies.
        frames: (name of the motion, frame), as :func:`split_frames` gives them.
        bodies: Who moves; all with the same parts.
        points: Points per cloud, at least 1.
        samples: Samples of each body's surface, at least 1.
        subjects: "drawn": one body per frame, drawn by (seed, name, frame); "all": every body in
            every frame, one after another.
        centred: Whether each cloud stands over the origin: the root's joint at x = y = 0.
        inner: Whether to keep points that are inside of another part at rest; False draws others
            for them.
        seed: At least 0.

    Returns:
        Clouds in metres, +z up, in the order of the frames; object k of them is sample
        k % samples of body k // samples.

    Raises:
        ConventionError: A setting is out of its range, a frame is not there, there is no frame or
            no body, or bodies differ in their parts.
    """
    check_option(subjects, ("drawn", "all"), "subjects")
    _check(motions, frames, bodies, points, samples, seed)
    drawn = [bodies[k].sample(points, seed=seed, draw=s + samples * k, inner=inner)
             for k in range(len(bodies)) for s in range(samples)]  # fmt: skip
    keys = [generator(seed, f"body|{name}", t).random(1 + len(bodies)) for name, t in frames]
    who = [
        range(len(bodies)) if subjects == "all" else [min(int(u[0] * len(bodies)), len(bodies) - 1)]
        for u in keys
    ]
    label = torch.tensor([k for chosen in who for k in chosen])
    sample = torch.tensor(
        [min(int(u[1 + k] * samples), samples - 1) for u, chosen in zip(keys, who, strict=True)
         for k in chosen]
    )  # fmt: skip
    shown = [frame for frame, chosen in zip(frames, who, strict=True) for _ in chosen]
    return PieceClouds(
        rest=torch.stack([x for x, _ in drawn]),
        parts=torch.stack([part for _, part in drawn]),
        object_id=label * samples + sample,
        elements=_elements(motions, shown, bodies, label, centred=centred),
        labels=label,
        part_names=bodies[0].part_names,
    )


def _elements(
    motions: Mapping[str, RecordedMotion],
    shown: list[Frame],
    bodies: Sequence[Body],
    label: Tensor,
    *,
    centred: bool,
) -> Tensor:
    """The element of every part of every cloud; each motion is made by each body once."""
    rows: dict[tuple[str, int], list[int]] = {}
    for row, ((name, _), k) in enumerate(zip(shown, label.tolist(), strict=True)):
        rows.setdefault((name, k), []).append(row)
    found = torch.empty(len(shown), len(bodies[0].parts), 4, 4, dtype=torch.float64)
    for (name, k), own in rows.items():
        times = torch.tensor([shown[row][1] for row in own])
        found[own] = bodies[k].elements(motions[name], times, centred=centred)
    return found


def _check(
    motions: Mapping[str, RecordedMotion], frames: Sequence[Frame], bodies: Sequence[Body],
    points: int, samples: int, seed: int,
) -> None:  # fmt: skip
    for name, value, least in (("points", points, 1), ("samples", samples, 1), ("seed", seed, 0)):
        if value < least:
            raise ConventionError(
                expected=f"at least {least}", got=str(value), argument=name,
                advice="See the documentation of body_clouds.",
            )  # fmt: skip
    absent = [(name, t) for name, t in frames if not 0 <= t < len(motions.get(name, ()))]
    if absent or not frames:
        raise ConventionError(
            expected="at least one frame, all of the motions given",
            got=f"{len(frames)} frames, not there: {absent[:3]}",
            argument="frames", advice="Take them from split_frames(motions, ...).",
        )  # fmt: skip
    kinds = {body.part_names for body in bodies}
    if len(kinds) != 1:
        raise ConventionError(
            expected="bodies of the same parts, at least one",
            got=f"{len(kinds)} kinds of {len(bodies)} bodies",
            argument="bodies", advice="Take them from synthetic_subjects(skeleton).",
        )  # fmt: skip
