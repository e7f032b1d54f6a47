"""Windows of recorded motions: a few frames, and the frames that follow, for forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from datasets3d.motion.motion import RecordedMotion
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError
from equivariant.shapes import Float, Int


class MotionWindows(NamedTuple):
    """Pasts and their futures; row k is one window.

    Attributes:
        past: Joints, metres, shape (N, past, joints, 3), float64.
        velocity: v_t = (x_t - x_{t-1}) · rate, m/s, of the frames of ``past``; a difference
            backwards, so that it holds nothing of the future.
        future: Joints, metres, shape (N, future, joints, 3).
        clip: Which motion, an index into ``clip_names``, shape (N,), int64.
        frame: Place of the last past frame in its motion, from 0, shape (N,), int64.
        clip_names: Names of the motions.
    """

    past: Float[Tensor, "n past joints 3"]
    velocity: Float[Tensor, "n past joints 3"]
    future: Float[Tensor, "n future joints 3"]
    clip: Int[Tensor, " n"]
    frame: Int[Tensor, " n"]
    clip_names: tuple[str, ...]


def motion_windows(
    motions: Mapping[str, RecordedMotion],
    *,
    past: int = 6,
    future: int = 6,
    every: int = 2,
    gap: int | None = None,
    windows: int = 100,
    first_frames: int | None = 300,
    seed: int = 0,
) -> MotionWindows:
    """Draw windows from motions, at places drawn for each motion by itself.

    A window at frame t shows, with e = ``every`` and h = ``gap``,

        past    t - (past - 1) e, ..., t - e, t
        future  t + h, t + h + e, ..., t + h + (future - 1) e

    The defaults are 6 frames in, 6 out, every second one. ``past=1, future=1, gap=30`` is the
    protocol of graph mechanics networks: frame t + 30 from the positions and velocities of t.

    Args:
        motions: By name, all with the same joints and frame rate; at least one.
        past: Frames in, at least 1.
        future: Frames out, at least 1.
        every: Distance of frames in and of frames out, at least 1.
        gap: From the last frame in to the first frame out, at least 1; None takes ``every``.
        windows: Windows of each motion, at least 1, at different places; all places of a motion
            that has fewer.
        first_frames: Windows begin within that many first frames of a motion; None anywhere.
        seed: Of the places, at least 0; those of a motion depend on (seed, its name, its length)
            and these settings alone.

    Returns:
        Windows, sorted by the motion's name, then by frame.

    Raises:
        ConventionError: A setting is out of its range, no motion is long enough for one window,
            or motions differ in joints or frame rate.

    Example:
        >>> from datasets3d.motion.skeleton import Skeleton
        >>> leg = Skeleton.of_bones({"root": ("", (0.0, 0.0, 0.0))})
        >>> walk = torch.arange(400.0, dtype=torch.float64)[:, None].expand(-1, 3) / 120
        >>> still = torch.eye(3, dtype=torch.float64).repeat(400, 1, 1, 1)
        >>> found = motion_windows({"walk": RecordedMotion(leg, still, walk)}, windows=50)
        >>> found.past.shape, found.future.shape
        (torch.Size([50, 6, 1, 3]), torch.Size([50, 6, 1, 3]))
        >>> bool(torch.allclose(found.velocity, torch.ones_like(found.velocity)))
        True

    Source: Huang et al. 2022, Equivariant Graph Mechanics Networks, section 5.2; Kim et al. 2023,
        Regularizing Towards Soft Equivariance Under Mixed Symmetries (six to six, subsampled).
    """
    gap = every if gap is None else gap
    _check(motions, past, future, every, gap, windows, first_frames, seed)
    names = tuple(sorted(motions))
    before, after = (past - 1) * every, gap + (future - 1) * every
    ins = torch.arange(past) * every - before
    outs = gap + torch.arange(future) * every
    rows: list[tuple[Tensor, ...]] = []
    for index, name in enumerate(names):
        motion = motions[name]
        # windows begin at frame 1 or later: at 0 there is no velocity
        places = len(motion) - 1 - before - after
        places = places if first_frames is None else min(places, first_frames)
        if places < 1:
            continue
        draws = generator(seed, f"windows|{name}", len(motion), past, future, every, gap)
        chosen = draws.permutation(places)[:windows]
        t = torch.from_numpy(chosen).sort().values + 1 + before
        x = motion.positions
        inside = t[:, None] + ins
        velocity = (x[inside] - x[inside - 1]) * motion.frame_rate_hz
        rows.append((x[inside], velocity, x[t[:, None] + outs], torch.full_like(t, index), t))
    if not rows:
        raise ConventionError(
            expected=f"a motion of at least {before + after + 2} frames",
            got=f"at most {max(map(len, motions.values()))}",
            argument="motions", advice="Take shorter windows or longer motions.",
        )  # fmt: skip
    found = [torch.cat(column) for column in zip(*rows, strict=True)]
    return MotionWindows(found[0], found[1], found[2], found[3], found[4], names)


def _check(
    motions: Mapping[str, RecordedMotion], past: int, future: int, every: int, gap: int,
    windows: int, first_frames: int | None, seed: int,
) -> None:  # fmt: skip
    settings = {"past": past, "future": future, "every": every, "gap": gap, "windows": windows}
    settings["first_frames"] = 1 if first_frames is None else first_frames
    for name, value in settings.items():
        if value < 1:
            raise ConventionError(
                expected="at least 1", got=str(value), argument=name,
                advice="See the documentation of motion_windows.",
            )  # fmt: skip
    kinds = {(motion.names, motion.frame_rate_hz) for motion in motions.values()}
    if seed < 0 or len(kinds) != 1:
        raise ConventionError(
            expected="motions of the same joints and frame rate, and a seed of at least 0",
            got=f"{len(kinds)} kinds of {len(motions)} motions, seed {seed}",
            argument="motions", advice="Slice motions to one frame rate: motion[::2].",
        )  # fmt: skip
