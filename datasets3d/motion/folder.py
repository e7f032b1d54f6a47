"""Folders of recorded motions, as CMU's database is laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import numpy as np

from datasets3d.motion.motion import FRAME_RATE_HZ, RecordedMotion, read_motion
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError, DataFormatError


def read_motions(
    folder: str | Path,
    *,
    subjects: Sequence[str] | None = None,
    frame_rate_hz: float = FRAME_RATE_HZ,
) -> dict[str, RecordedMotion]:
    """Read every motion of a folder that is laid out as CMU's database is.

    That is ``<subject>/<subject>.asf`` and ``<subject>/<subject>_<trial>.amc``.

    Args:
        folder: What holds the folders of the subjects, or holds ``subjects/`` which does.
        subjects: Names of those to read, ``["35", "39"]``; None reads all.
        frame_rate_hz: Frames per second, of all of them.

    Returns:
        Motions by the name of their file, "35_01", sorted.

    Raises:
        DataFormatError: There is no motion, a subject is missing, or a file is malformed.

    Source: CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu.
    """
    root = Path(folder)
    root = root / "subjects" if (root / "subjects").is_dir() else root
    if subjects is None:
        found = sorted(path.parent.name for path in root.glob("*/*.asf"))
    else:
        found = sorted(set(subjects))
    motions = {}
    for subject in found:
        asf = root / subject / f"{subject}.asf"
        for amc in sorted(asf.parent.glob(f"{subject}_*.amc")):
            motions[amc.stem] = read_motion(asf, amc, frame_rate_hz=frame_rate_hz)
    lacking = sorted(set(found) - {subject_of(name) for name in motions})
    if lacking or not motions:
        raise DataFormatError(
            expected="<subject>/<subject>.asf and <subject>/<subject>_<trial>.amc",
            got=f"no motion of {', '.join(lacking) or 'any subject'}",
            argument=str(folder),
            advice="Lay files out as the CMU database does.",
        )
    return motions


def subject_of(name: str) -> str:
    """Who moves: what stands before the underscore of a motion's name.

    Example:
        >>> subject_of("35_01")
        '35'
    """
    return name.rpartition("_")[0] or name


def split_motions(
    names: Sequence[str] | Mapping[str, Sized],
    *,
    shares: tuple[int, int, int] = (11, 6, 6),
    seed: int = 0,
) -> dict[str, list[str]]:
    """Split whole motions into those to train on, to choose by, and to test on.

    Motions are put into an order that is drawn for each name by itself, so that neither the order
    of ``names`` nor the names' number decides who comes before whom; then they are cut by shares.

    Args:
        names: Names of motions, or motions by name; at least one.
        shares: Relative sizes of "train", "val" and "test", at least 0, not all 0; sizes are
            rounded so that each motion is in one split.
        seed: At least 0.

    Returns:
        Names of each split, sorted.

    Raises:
        ConventionError: A share or the seed is negative, or there is no name.

    Example:
        >>> splits = split_motions([f"35_{k:02d}" for k in range(23)])
        >>> [len(names) for names in splits.values()]
        [11, 6, 6]

    Source: The sizes are those of Huang et al. 2022, Equivariant Graph Mechanics Networks, on 23
        motions of subject 35.
    """
    every = sorted(set(names))
    if min(*shares, seed) < 0 or not any(shares) or not every:
        raise ConventionError(
            expected="names, shares of at least 0 that are not all 0, and a seed of at least 0",
            got=f"{len(every)} names, shares {shares}, seed {seed}",
            argument="shares", advice="(11, 6, 6) are the shares of the published protocol.",
        )  # fmt: skip
    every.sort(key=lambda name: (generator(seed, f"split|{name}").random(), name))
    ends = np.rint(np.cumsum(shares) / sum(shares) * len(every)).astype(int).tolist()
    parts = zip(("train", "val", "test"), [0, *ends[:2]], ends, strict=True)
    return {name: sorted(every[start:end]) for name, start, end in parts}
