"""Trees of bones, and where their joints are for given rotations of the bones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Bones that hang together in a tree; bone k ends in joint k, and its parent's joint begins it.

    At rest nothing is rotated: joint k is at the joint of its parent plus ``offsets_m[k]``. The
    root is a bone of length zero.

    Args:
        names: Name of each bone, the root's first; parents before their children.
        parents: Index of the bone that each hangs on; -1 for the root.
        offsets_m: From the beginning of each bone to its end at rest, metres, shape (joints, 3),
            float64; zero for the root.
        axes: The frame in which the angles of each bone are told, rotations C of shape
            (joints, 3, 3), float64.
        channels: Names of the numbers that a file of motion holds of each bone, in their order:
            "rx", "ry", "rz", and for the root "tx", "ty", "tz" too.
        rotation_orders: Order in which each bone's three turns are made, "xyz" for x first.

    Raises:
        ShapeError: The fields differ in their number of bones.
        ConventionError: A parent comes after its child, or a name comes twice.

    Example:
        >>> bones = {"root": ("", (0.0, 0.0, 0.0)), "shin": ("root", (0.0, -0.4, 0.0))}
        >>> leg = Skeleton.of_bones(bones)
        >>> leg.names, leg.parents, leg.lengths_m.tolist()
        (('root', 'shin'), (-1, 0), [0.0, 0.4])
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets_m: Float[Tensor, "joints 3"]
    axes: Float[Tensor, "joints 3 3"]
    channels: tuple[tuple[str, ...], ...]
    rotation_orders: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.names)
        for name in ("parents", "offsets_m", "axes", "channels", "rotation_orders"):
            if len(getattr(self, name)) != count:
                raise ShapeError(
                    expected=f"{count} entries, one per bone",
                    got=f"{len(getattr(self, name))}",
                    argument=name,
                    advice="Give every bone a name, a parent, an offset, a frame and channels.",
                )
        ordered = all(-1 <= parent < k for k, parent in enumerate(self.parents))
        if not ordered or self.parents.count(-1) != 1 or len(set(self.names)) != count:
            raise ConventionError(
                expected="one root, first, and parents before their children, all names different",
                got=f"parents {self.parents} of {self.names}",
                argument="parents",
                advice="Sort the bones from the root outwards.",
            )

    @classmethod
    def of_bones(cls, bones: Mapping[str, tuple[str, tuple[float, float, float]]]) -> Skeleton:
        """A skeleton whose bones turn freely, about axes parallel to those of space.

        Args:
            bones: Of each bone its parent's name ("" for the root) and its offset at rest in
                metres; the root's first, parents before their children.

        Raises:
            ConventionError: A parent is not among the bones before its child.
        """
        names = tuple(bones)
        for k, (parent, _) in enumerate(bones.values()):
            if parent not in names[:k] and (k > 0 or parent):
                raise ConventionError(
                    expected="the name of a bone that comes before",
                    got=repr(parent),
                    argument=names[k],
                    advice="Name the root first, then its children.",
                )
        turns = ("rx", "ry", "rz")
        return cls(
            names=names,
            parents=tuple(names.index(p) if p else -1 for p, _ in bones.values()),
            offsets_m=torch.tensor([list(o) for _, o in bones.values()], dtype=torch.float64),
            axes=torch.eye(3, dtype=torch.float64).repeat(len(names), 1, 1),
            channels=tuple(turns if k else ("tx", "ty", "tz", *turns) for k in range(len(names))),
            rotation_orders=("xyz",) * len(names),
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def lengths_m(self) -> Float[Tensor, " joints"]:
        """Length of every bone, metres, shape (joints,), float64."""
        lengths: Tensor = torch.linalg.vector_norm(self.offsets_m, dim=-1)
        return lengths

    @cached_property
    def rest_positions_m(self) -> Float[Tensor, "joints 3"]:
        """Joints at rest with the root's joint at the origin, metres, shape (joints, 3)."""
        eye = torch.eye(3, dtype=torch.float64)
        return self.joints(eye.repeat(len(self), 1, 1), torch.zeros(3, dtype=torch.float64))

    @cached_property
    def rest_starts_m(self) -> Float[Tensor, "joints 3"]:
        """Where each bone begins at rest, metres, shape (joints, 3); the root at the origin."""
        return self.rest_positions_m[list(self.start_joints)]

    @property
    def start_joints(self) -> tuple[int, ...]:
        """The joint at which each bone begins: its parent's, and the root's own."""
        return tuple(max(parent, 0) for parent in self.parents)

    def index(self, name: str) -> int:
        """Place of a bone among the names.

        Raises:
            ConventionError: There is none of that name.
        """
        if name not in self.names:
            raise ConventionError(
                expected=f"one of {', '.join(self.names)}",
                got=repr(name),
                argument="name",
                advice="See skeleton.names.",
            )
        return self.names.index(name)

    def children(self, name: str) -> tuple[str, ...]:
        """Names of the bones that hang on one."""
        own = self.index(name)
        return tuple(other for other, p in zip(self.names, self.parents, strict=True) if p == own)

    def compose(self, turns: Float[Tensor, "... joints 3 3"]) -> Float[Tensor, "... joints 3 3"]:
        """Rotation of every bone in space, from rotations relative to the bone it hangs on.

            R_k = R_parent(k) L_k,   R_root = L_root

        Args:
            turns: L_k, shape (..., joints, 3, 3).

        Returns:
            R_k, shape (..., joints, 3, 3).
        """
        found: list[Tensor] = []
        for k, parent in enumerate(self.parents):
            own = turns[..., k, :, :]
            found.append(own if parent < 0 else found[parent] @ own)
        return torch.stack(found, -3)

    def joints(
        self, rotations: Float[Tensor, "... joints 3 3"], root_m: Float[Tensor, "... 3"]
    ) -> Float[Tensor, "... joints 3"]:
        """Where the joints are: x_k = x_parent(k) + R_k o_k.

        Args:
            rotations: R_k of every bone in space, shape (..., joints, 3, 3).
            root_m: Joint of the root, metres, shape (..., 3).

        Returns:
            Metres, shape (..., joints, 3).
        """
        along = (rotations @ self.offsets_m.to(rotations).unsqueeze(-1)).squeeze(-1)
        found: list[Tensor] = []
        for k, parent in enumerate(self.parents):
            found.append(root_m if parent < 0 else found[parent] + along[..., k, :])
        return torch.stack(torch.broadcast_tensors(*found), -2)

    def scaled(self, factors: Mapping[str, float]) -> Skeleton:
        """The same tree with some bones longer or shorter.

        Args:
            factors: Positive factor of the length of each bone that changes, by name.

        Raises:
            ConventionError: A name is unknown or a factor not positive and finite.

        Example:
            >>> bones = {"root": ("", (0.0, 0.0, 0.0)), "shin": ("root", (0.0, -0.4, 0.0))}
            >>> leg = Skeleton.of_bones(bones)
            >>> leg.scaled({"shin": 1.5}).lengths_m.tolist()
            [0.0, 0.6000000000000001]
        """
        scale = torch.ones(len(self), 1, dtype=torch.float64)
        for name, factor in factors.items():
            if not 0.0 < factor < float("inf"):
                raise ConventionError(
                    expected="a positive factor", got=str(factor), argument=name,
                    advice="1 leaves a bone as it is.",
                )  # fmt: skip
            scale[self.index(name)] = factor
        return replace(self, offsets_m=self.offsets_m * scale)
