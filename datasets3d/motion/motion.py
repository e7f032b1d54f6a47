"""Recorded motions: where every joint of a skeleton is in every frame, in metres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from datasets3d.motion.amc import AcclaimFrames, read_frames
from datasets3d.motion.asf import INCH_M, AcclaimSkeleton, read_skeleton
from datasets3d.motion.euler_angles import turn
from datasets3d.motion.skeleton import Skeleton
from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float

FRAME_RATE_HZ = 120.0


@dataclass(frozen=True, eq=False)
class RecordedMotion:
    """A skeleton in motion. Axes are those of the file: +y is up in CMU's.

    Args:
        skeleton: The bones.
        rotations: R_k of every bone in space, relative to rest, shape (frames, joints, 3, 3),
            float64.
        root_m: The root's joint, metres, shape (frames, 3), float64.
        frame_rate_hz: Frames per second.
        first_frame: Number of the first frame in the file; not all begin at 1.

    Raises:
        ShapeError: Rotations and root differ in frames, or rotations and skeleton in bones.
        ConventionError: The frame rate is not positive.

    Example:
        >>> bones = {"root": ("", (0.0, 0.0, 0.0)), "shin": ("root", (0.0, -0.4, 0.0))}
        >>> leg = Skeleton.of_bones(bones)
        >>> still = torch.eye(3, dtype=torch.float64).repeat(2, 2, 1, 1)
        >>> motion = RecordedMotion(leg, still, torch.ones(2, 3, dtype=torch.float64))
        >>> positions, names = motion
        >>> positions.shape, names
        (torch.Size([2, 2, 3]), ('root', 'shin'))
    """

    skeleton: Skeleton
    rotations: Float[Tensor, "frames joints 3 3"]
    root_m: Float[Tensor, "frames 3"]
    frame_rate_hz: float = FRAME_RATE_HZ
    first_frame: int = 1

    def __post_init__(self) -> None:
        if self.rotations.shape[:2] != (len(self.root_m), len(self.skeleton)):
            raise ShapeError(
                expected=f"rotations of {len(self.root_m)} frames and {len(self.skeleton)} bones",
                got=f"shape {tuple(self.rotations.shape)}",
                argument="rotations",
                advice="One rotation per frame and bone.",
            )
        if not 0.0 < self.frame_rate_hz < float("inf"):
            raise ConventionError(
                expected="a positive frame rate", got=str(self.frame_rate_hz),
                argument="frame_rate_hz", advice="CMU's motions have 120 frames per second.",
            )  # fmt: skip

    @cached_property
    def positions(self) -> Float[Tensor, "frames joints 3"]:
        """Every joint in every frame, metres, shape (frames, joints, 3), float64."""
        return self.skeleton.joints(self.rotations, self.root_m)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints: each has that of the bone which ends there."""
        return self.skeleton.names

    @property
    def parents(self) -> tuple[int, ...]:
        """Index of the joint that each hangs on; -1 for the root."""
        return self.skeleton.parents

    @property
    def transforms(self) -> Float[Tensor, "frames joints 4 4"]:
        """Elements of SE3 that take each bone from rest to each frame.

            x ↦ R_k (x - s_k) + x_start(k),   s_k where the bone begins at rest

        Returns:
            Shape (frames, joints, 4, 4), float64, metres; for rest see ``rest_positions_m``.
        """
        rest = self.skeleton.rest_starts_m
        starts = self.positions[:, list(self.skeleton.start_joints)]
        matrix = torch.zeros(*self.rotations.shape[:2], 4, 4, dtype=self.rotations.dtype)
        matrix[..., :3, :3] = self.rotations
        matrix[..., :3, 3] = starts - (self.rotations @ rest.unsqueeze(-1)).squeeze(-1)
        matrix[..., 3, 3] = 1.0
        return matrix

    def __len__(self) -> int:
        return len(self.root_m)

    def __iter__(self) -> Iterator[object]:
        """Positions and names, so that ``positions, names = read_motion(asf, amc)``."""
        yield self.positions
        yield self.names

    def __getitem__(self, frames: slice) -> RecordedMotion:
        """Some of the frames, every n-th if the slice says so; the frame rate follows.

        Raises:
            ConventionError: The slice goes backwards.
        """
        start, _, step = frames.indices(len(self))
        if step < 1:
            raise ConventionError(
                expected="a slice that goes forwards", got=str(frames), argument="frames",
                advice="Flip the positions instead.",
            )  # fmt: skip
        return RecordedMotion(
            self.skeleton, self.rotations[frames], self.root_m[frames],
            self.frame_rate_hz / step, self.first_frame + start,
        )  # fmt: skip

    def on(self, skeleton: Skeleton, *, travel: float = 1.0) -> RecordedMotion:
        """The same rotations on a skeleton of other proportions.

        Args:
            skeleton: Bones in the same tree.
            travel: Factor of the root's positions: the ratio of the lengths of the legs keeps
                feet from sliding.

        Raises:
            ConventionError: Names or parents differ.
        """
        if (skeleton.names, skeleton.parents) != (self.names, self.parents):
            raise ConventionError(
                expected="a skeleton of the same bones", got=f"{len(skeleton)} bones of others",
                argument="skeleton", advice="Take skeleton.scaled(...) of this one.",
            )  # fmt: skip
        root = self.root_m * travel
        return RecordedMotion(skeleton, self.rotations, root, self.frame_rate_hz, self.first_frame)


def read_motion(
    asf: str | Path,
    amc: str | Path,
    *,
    frame_rate_hz: float = FRAME_RATE_HZ,
    unit_m: float = INCH_M,
) -> RecordedMotion:
    """Read a recorded motion of the Acclaim format: where every joint is in every frame.

    The files hold angles; forward kinematics gives, from the root outwards and with C the frame
    of a bone and M its turns (x first, then y, then z),

        R_k = R_parent(k) · C_k M_k C_k⁻¹,     x_k = x_parent(k) + R_k o_k

    Args:
        asf: The skeleton, .asf.
        amc: The motion, .amc. Its angles are in degrees or radians as it says, else as the
            skeleton says.
        frame_rate_hz: Frames per second, which the files do not state; CMU's have 120.
        unit_m: Metres of the files' unit after division by the number that the skeleton gives as
            its unit of length; inches for CMU, whose metres are value · 0.0254 / 0.45.

    Returns:
        The motion: ``positions`` in metres, ``names``, ``parents``, ``transforms`` of the bones.

    Raises:
        DataFormatError: A file is missing, cut off or malformed; the message names the line and
            what was expected there.
        ConventionError: The frame rate or the unit is not positive.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.asf").write_text('''
        ... :units
        ...   length 0.45
        ...   angle deg
        ... :root
        ...   order TX TY TZ RX RY RZ
        ...   axis XYZ
        ... :bonedata
        ...   begin
        ...     name shin
        ...     direction 0 -1 0
        ...     length 9
        ...     axis 0 0 0 XYZ
        ...     dof rx
        ...   end
        ... :hierarchy
        ...   begin
        ...     root shin
        ...   end
        ... ''')
        >>> _ = (folder / "a.amc").write_text('''
        ... :FULLY-SPECIFIED
        ... :DEGREES
        ... 1
        ... root 0 9 0 0 0 0
        ... shin 90
        ... ''')
        >>> motion = read_motion(folder / "a.asf", folder / "a.amc")
        >>> motion.names, (motion.positions[0, 1] * 1000).round().abs().tolist()
        (('root', 'shin'), [0.0, 508.0, 508.0])

    Source: CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu.
    """
    found = read_skeleton(asf, unit_m=unit_m)
    frames = read_frames(amc, found.skeleton)
    rotations = found.skeleton.compose(_turns(found, frames))
    moved = frames.channels[:, 0, :3] * found.metres_per_unit + found.root_position_m
    return RecordedMotion(found.skeleton, rotations, moved, frame_rate_hz, frames.first_frame)


def _turns(found: AcclaimSkeleton, frames: AcclaimFrames) -> Tensor:
    """C M C⁻¹ of every bone in every frame, shape (frames, joints, 3, 3)."""
    degrees = found.degrees if frames.degrees is None else frames.degrees
    skeleton = found.skeleton
    own = [
        turn(frames.channels[:, k, 3:], skeleton.rotation_orders[k], degrees=degrees)
        for k in range(len(skeleton))
    ]
    C = skeleton.axes
    return C @ torch.stack(own, 1) @ C.mT
