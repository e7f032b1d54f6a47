"""Training: one readable loop, exact resume, checkpoints without pickle."""

from equivariant.training.cached import CachedStep, cached_step
from equivariant.training.checkpoint import load_weights, read_header, save_weights
from equivariant.training.learners import Learner, PairLearner, SupervisedLearner
from equivariant.training.loop import FitConfig, PairStream, fit, launch
from equivariant.training.recorder import Recorder, read_metrics

__all__ = [
    "CachedStep",
    "FitConfig",
    "Learner",
    "PairLearner",
    "PairStream",
    "Recorder",
    "SupervisedLearner",
    "cached_step",
    "fit",
    "launch",
    "load_weights",
    "read_header",
    "read_metrics",
    "save_weights",
]
