"""Recorded motions of skeletons and tracks of agents, and windows of them for forecasting."""

from datasets3d.motion.folder import read_motions, split_motions
from datasets3d.motion.motion import RecordedMotion, read_motion
from datasets3d.motion.skeleton import Skeleton
from datasets3d.motion.trajectories import (
    Trajectories,
    read_trajectories,
    split_trajectories,
)
from datasets3d.motion.windows import MotionWindows, motion_windows

__all__ = [
    "MotionWindows",
    "RecordedMotion",
    "Skeleton",
    "Trajectories",
    "motion_windows",
    "read_motion",
    "read_motions",
    "read_trajectories",
    "split_motions",
    "split_trajectories",
]
