"""Training: one readable loop, exact resume, checkpoints without pickle."""

from equivariant.training.averaging import WeightAverage
from equivariant.training.config import FitConfig
from equivariant.training.launch import launch, leave
from equivariant.training.learners.alternating import AlternatingLearner
from equivariant.training.learners.averaged_teacher import AveragedTeacherLearner
from equivariant.training.learners.bags_of_words import BagOfWordsLearner
from equivariant.training.learners.cached import CachedStep, cached_step
from equivariant.training.learners.episodes import EpisodeLearner
from equivariant.training.learners.group_law import GroupLawLearner, group_law_terms
from equivariant.training.learners.harmonized import HarmonizedLearner
from equivariant.training.learners.node_contrast import NodeContrastLearner
from equivariant.training.learners.noisy_head import EmbeddingNoise, NoisyHeadLearner
from equivariant.training.learners.pairs import Learner, PairLearner, SupervisedLearner
from equivariant.training.learners.potential import PotentialLearner
from equivariant.training.learners.teachers import DistillationLearner
from equivariant.training.loop import Batch, BatchStream, PairStream, fit
from equivariant.training.optimizers import LARS, make_optimizer, parameter_groups
from equivariant.training.recorder import Recorder, read_metrics
from equivariant.training.resume.checkpoint import load_weights, read_header, save_weights
from equivariant.training.resume.interruption import TrainingStopped
from equivariant.training.rows import Rows, RowStream
from equivariant.training.stages import StagedModel, composed, fit_stages
from equivariant.training.surgery import conflict, harmonized

__all__ = [
    "LARS",
    "AlternatingLearner",
    "AveragedTeacherLearner",
    "BagOfWordsLearner",
    "Batch",
    "BatchStream",
    "CachedStep",
    "DistillationLearner",
    "EmbeddingNoise",
    "EpisodeLearner",
    "FitConfig",
    "GroupLawLearner",
    "HarmonizedLearner",
    "Learner",
    "NodeContrastLearner",
    "NoisyHeadLearner",
    "PairLearner",
    "PairStream",
    "PotentialLearner",
    "Recorder",
    "RowStream",
    "Rows",
    "StagedModel",
    "SupervisedLearner",
    "TrainingStopped",
    "WeightAverage",
    "cached_step",
    "composed",
    "conflict",
    "fit",
    "fit_stages",
    "group_law_terms",
    "harmonized",
    "launch",
    "leave",
    "load_weights",
    "make_optimizer",
    "parameter_groups",
    "read_header",
    "read_metrics",
    "save_weights",
]
