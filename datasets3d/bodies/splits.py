"""Which frames of which motions are for training, and which for testing."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Literal

import numpy as np

from datasets3d.motion.folder import split_motions
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError, check_option

Frame = tuple[str, int]
SplitKind = Literal["random frames", "unseen sequences", "unseen action"]
KINDS: tuple[SplitKind, ...] = ("random frames", "unseen sequences", "unseen action")

_WALKS = {
    "02": "01 02", "06": "01", "07": "01 02 03 06 07 08 09 10 11",
    "08": "01 02 03 04 06 08 09 10", "16": "15 16 21 22 31 32 47 58",
    "35": "01 02 05 07 08 09 10 11 12 13 14 15 16 28 29 30 31 32 33 34", "38": "01 02",
    "39": "01 02 03 04 05 06 07 08 09 12 13 14",
}  # fmt: skip

CMU_ACTIONS: Mapping[str, str] = {
    **{f"{subject}_{n}": "walk" for subject, trials in _WALKS.items() for n in trials.split()},
    "02_03": "run", "02_04": "jump", "02_05": "punch", "02_09": "swordplay",
}  # fmt: skip
"""What some motions of CMU's database show, by name."""


def split_frames(
    motions: Mapping[str, Sized],
    kind: SplitKind,
    *,
    every: int = 12,
    shares: tuple[int, int, int] = (8, 1, 3),
    actions: Mapping[str, str] = CMU_ACTIONS,
    held_out: str = "jump",
    seed: int = 0,
) -> dict[str, list[Frame]]:
    """Split the frames of motions in one of three ways.

    - "random frames": each frame by itself, so that a test frame has neighbors in training;
    - "unseen sequences": whole motions;
    - "unseen action": all motions of one action are the test; the others are split as whole
      motions into training and validation. In all three no frame is in two splits.

    Args:
        motions: By name; their lengths count: ``Registrations.frames`` will do.
        kind: Which way.
        every: Every n-th frame is used, at least 1; 12 is ten per second of CMU's.
        shares: Relative sizes of "train", "val" and "test".
        actions: What each motion shows, by name; for "unseen action".
        held_out: The action to test on.
        seed: At least 0.

    Returns:
        (name of the motion, frame) of each split, sorted.

    Raises:
        ConventionError: A setting is out of its range, a motion's action is unknown, or no motion
            shows the action held out, or all do.

    Source: Atzmon et al. 2024, Approximately Piecewise E(3) Equivariant Point Networks, section 5.
    """
    check_option(kind, KINDS, "kind")
    if every < 1:
        raise ConventionError(
            expected="at least 1", got=str(every), argument="every",
            advice="12 takes ten frames per second of a motion of 120.",
        )  # fmt: skip
    frames = {name: range(0, len(motion), every) for name, motion in sorted(motions.items())}
    if kind == "random frames":
        return _each_frame(frames, shares, seed)
    if kind == "unseen sequences":
        names = split_motions(motions, shares=shares, seed=seed)
    else:
        names = _by_action(motions, shares, actions, held_out, seed)
    return {
        part: [(name, t) for name in chosen for t in frames[name]] for part, chosen in names.items()
    }


def _each_frame(
    frames: Mapping[str, range], shares: tuple[int, int, int], seed: int
) -> dict[str, list[Frame]]:
    """Frames in an order drawn for each by itself, cut by the shares."""
    # checks of shares and seed, and of there being a motion
    split_motions(list(frames), shares=shares, seed=seed)
    keyed = [
        (float(generator(seed, f"split|{name}", t).random()), name, t)
        for name, places in frames.items()
        for t in places
    ]
    order = [(name, t) for _, name, t in sorted(keyed)]
    ends = np.rint(np.cumsum(shares) / sum(shares) * len(order)).astype(int).tolist()
    parts = zip(("train", "val", "test"), [0, *ends[:2]], ends, strict=True)
    return {part: sorted(order[a:b]) for part, a, b in parts}


def _by_action(
    motions: Mapping[str, Sized], shares: tuple[int, int, int], actions: Mapping[str, str],
    held_out: str, seed: int,
) -> dict[str, list[str]]:  # fmt: skip
    unknown = sorted(set(motions) - set(actions))
    test = sorted(name for name in motions if actions.get(name) == held_out)
    if unknown or not test or len(test) == len(motions):
        raise ConventionError(
            expected=f"an action of every motion, some {held_out!r} and some not",
            got=f"{len(test)} of {len(motions)}, unknown: {', '.join(unknown[:5]) or 'none'}",
            argument="actions", advice="Pass actions={name: action}.",
        )  # fmt: skip
    others = [name for name in motions if name not in test]
    names = split_motions(others, shares=(shares[0], shares[1], 0), seed=seed)
    return {"train": names["train"], "val": names["val"], "test": test}
