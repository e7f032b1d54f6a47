"""Tracks of agents from a user's own arrays, cut into pasts and futures for forecasting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.views.latents import generator
from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.shapes import Float, Int

Scaling = Literal["none", "axes", "isotropic", "isotropic_centred"]
_LEAST_RISE_M, _FARTHEST_M, _CHECKED_FRAME = 0.05, 5.0, 5


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Pasts and futures of agents; row k is one agent.

    Attributes:
        past: Positions, shape (N, past, 3), float64, in metres, or scaled.
        future: Positions, shape (N, future, 3).
        agent: Row of each in the file, shape (N,), int64.
        mean: What was subtracted from positions, metres, shape (3,).
        deviation: What they were divided by then, metres, shape (3,).
    """

    past: Float[Tensor, "n past 3"]
    future: Float[Tensor, "n future 3"]
    agent: Int[Tensor, " n"]
    mean: Float[Tensor, " 3"]
    deviation: Float[Tensor, " 3"]

    def __len__(self) -> int:
        return len(self.past)

    def rows(self, chosen: Tensor) -> Trajectories:
        """Some of the agents, by index or mask."""
        return Trajectories(
            self.past[chosen], self.future[chosen], self.agent[chosen], self.mean, self.deviation
        )

    def scaled(self, scaling: Scaling, *, like: Trajectories | None = None) -> Trajectories:
        """Positions with mean subtracted and divided by deviations.

            x ↦ (x - m) / s

        "axes" has m and s of each axis, which breaks the symmetry between them; "isotropic" has
        m = 0 and one s, which keeps rotations, reflections and scales; "isotropic_centred" has
        the mean height in m besides, which keeps turns about the vertical.

        Args:
            scaling: Which; "none" leaves metres.
            like: Trajectories in metres whose statistics are taken, those of training; None for
                one's own.

        Raises:
            ConventionError: An unknown word, positions that are scaled already, or an axis along
                which nothing moves.
        """
        check_option(scaling, ("none", "axes", "isotropic", "isotropic_centred"), "scaling")
        source = self if like is None else like
        for given in (self, source):
            if bool((given.mean != 0).any() | (given.deviation != 1).any()):
                raise ConventionError(
                    expected="positions in metres", got="scaled ones", argument="scaling",
                    advice="Scale what read_trajectories returned, once.",
                )  # fmt: skip
        mean, deviation = _statistics(torch.cat([source.past, source.future], 1), scaling)
        moved = [(x - mean) / deviation for x in (self.past, self.future)]
        return Trajectories(moved[0], moved[1], self.agent, mean, deviation)


def read_trajectories(
    path: Path,
    *,
    past: int = 6,
    future: int = 6,
    every: int = 2,
    climbing: bool = True,
    centred: bool = True,
) -> Trajectories:
    """Read tracks of agents that a user exported, from the Waymo Open Motion data for example.

    A window has ``past + future`` frames, every ``every``-th from the first one of the file. Kept
    are agents that are known in all of them and, where ``climbing``, those that the paper keeps:
    between frames 0 and 5 of the window they rise or fall by more than 0.05 m and move by less
    than 5 m along x and y. ``centred`` subtracts the mean position of each past.

    Args:
        path: A .npz file with ``positions``, shape (agents, frames, 3), metres, z up, and
            optionally ``valid``, shape (agents, frames), bool; or a .npy file with positions.
            What is not known may also be NaN. Nothing is unpickled.
        past: Frames in, at least 1.
        future: Frames out, at least 1.
        every: Distance of frames, at least 1.
        climbing: Whether only agents that the paper keeps are.
        centred: Whether positions are relative to the mean of the past.

    Returns:
        Positions in metres, in the order of the file.

    Raises:
        DataFormatError: The file cannot be read, or holds other arrays.
        ConventionError: A setting is out of range, the tracks are shorter than a window, or no
            agent is kept.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "tracks.npz"
        >>> steps = np.arange(24.0)[None, :, None] * np.array([0.1, 0.0, 0.02])
        >>> np.savez(file, positions=np.repeat(steps, 4, 0))
        >>> tracks = read_trajectories(file)
        >>> tracks.past.shape, tracks.future.shape
        (torch.Size([4, 6, 3]), torch.Size([4, 6, 3]))

    Source: Kim et al. 2023, whose experiment has 24 frames of Waymo v1.1 at every second.
    """
    if min(past, future, every) < 1:
        raise ConventionError(
            expected="past, future and every of at least 1", got=f"{past}, {future}, {every}",
            argument="past, future or every", advice="Leave them out for 6, 6 and 2.",
        )  # fmt: skip
    positions, valid = _arrays(Path(path))
    frames = past + future
    if positions.shape[1] < (frames - 1) * every + 1:
        raise ConventionError(
            expected=f"tracks of at least {(frames - 1) * every + 1} frames",
            got=f"{positions.shape[1]} in {path}", argument="path",
            advice="Ask for fewer frames, or nearer ones.",
        )  # fmt: skip
    x = positions[:, : (frames - 1) * every + 1 : every]
    kept = valid[:, : (frames - 1) * every + 1 : every].all(1) & np.isfinite(x).all((1, 2))
    if climbing:
        moved = np.abs(x[:, min(_CHECKED_FRAME, frames - 1)] - x[:, 0])
        kept &= (moved[:, 2] > _LEAST_RISE_M) & (moved[:, :2] < _FARTHEST_M).all(1)
    if not kept.any():
        raise ConventionError(
            expected="at least one agent that is kept", got=f"none of {len(x)} in {path}",
            argument="climbing", advice="climbing=False keeps all that are known throughout.",
        )  # fmt: skip
    agent = torch.from_numpy(np.flatnonzero(kept))
    chosen = torch.from_numpy(np.ascontiguousarray(x[kept]))
    if centred:
        chosen = chosen - chosen[:, :past].mean(1, keepdim=True)
    zero = torch.zeros(3, dtype=torch.float64)
    return Trajectories(chosen[:, :past], chosen[:, past:], agent, zero, zero + 1)


def split_trajectories(
    tracks: Trajectories, *, seed: int = 0
) -> tuple[Trajectories, Trajectories, Trajectories]:
    """Four sixths to learn from, a sixth for choices, a sixth to test; agents are drawn.

    Args:
        tracks: At least 6 agents.
        seed: Of the draw.

    Raises:
        ConventionError: Fewer than 6 agents.

    Source: Kim et al. 2023.
    """
    if len(tracks) < 6:
        raise ConventionError(
            expected="at least 6 agents", got=str(len(tracks)), argument="tracks",
            advice="Export more, or read with climbing=False.",
        )  # fmt: skip
    order = torch.from_numpy(generator(seed, "split").permutation(len(tracks)))
    sixth = len(tracks) // 6
    rest = len(tracks) - 2 * sixth
    parts = (order[:rest], order[rest : rest + sixth], order[rest + sixth :])
    train, validation, test = (tracks.rows(part.sort().values) for part in parts)
    return train, validation, test


def _arrays(path: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Positions, float64, and which of them are known."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            one = isinstance(loaded, np.ndarray)
            found = {"positions": loaded} if one else {n: loaded[n] for n in loaded.files}
        positions = np.asarray(found["positions"], np.float64)
        valid = np.asarray(found.get("valid", np.ones(positions.shape[:2])), bool)
        if positions.ndim != 3 or positions.shape[2] != 3 or valid.shape != positions.shape[:2]:
            raise ValueError(f"positions {positions.shape}, valid {valid.shape}")
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
        raise DataFormatError(
            expected="positions (agents, frames, 3) and optionally valid (agents, frames)",
            got=f"{type(error).__name__}: {error}", argument=str(path),
            advice="Save them with numpy.savez(path, positions=..., valid=...).",
        ) from error  # fmt: skip
    return positions, valid


def _statistics(x: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    zero = torch.zeros(3, dtype=torch.float64)
    if scaling == "none":
        return zero, zero + 1
    mean = x.mean((0, 1)) if scaling == "axes" else zero
    if scaling == "isotropic_centred":
        mean = zero.clone()
        mean[2] = x[..., 2].mean()
    square = (x - mean).square()
    deviation = (square.mean((0, 1)) if scaling == "axes" else square.mean() + zero).sqrt()
    if not bool((deviation > 0).all()):
        raise ConventionError(
            expected="positions that differ along every axis that is scaled",
            got=f"deviations {deviation.tolist()} m", argument="scaling",
            advice='"isotropic" has one deviation for all axes.',
        )  # fmt: skip
    return mean, deviation
