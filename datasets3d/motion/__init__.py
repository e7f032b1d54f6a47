"""Recorded motions of skeletons, and windows of them for forecasting."""

from datasets3d.motion.motion import Motion, read_motion
from datasets3d.motion.skeleton import Skeleton

__all__ = ["Motion", "Skeleton", "read_motion"]
