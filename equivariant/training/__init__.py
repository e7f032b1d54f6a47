"""Training: one readable loop, exact resume, checkpoints without pickle."""

from equivariant.training.averaging import WeightAverage
from equivariant.training.cached import CachedStep, cached_step
from equivariant.training.checkpoint import load_weights, read_header, save_weights
from equivariant.training.config import FitConfig
from equivariant.training.interruption import TrainingStopped
from equivariant.training.learners import Learner, PairLearner, SupervisedLearner
from equivariant.training.loop import Batch, BatchStream, PairStream, fit
from equivariant.training.potential import PotentialLearner
from equivariant.training.processes import launch, leave
from equivariant.training.recorder import Recorder, read_metrics

__all__ = [
    "Batch",
    "BatchStream",
    "CachedStep",
    "FitConfig",
    "Learner",
    "PairLearner",
    "PairStream",
    "PotentialLearner",
    "Recorder",
    "SupervisedLearner",
    "TrainingStopped",
    "WeightAverage",
    "cached_step",
    "fit",
    "launch",
    "leave",
    "load_weights",
    "read_header",
    "read_metrics",
    "save_weights",
]
