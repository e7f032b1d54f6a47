"""Networks and terms by the name of a method."""

from __future__ import annotations

from torch import nn

from datasets3d.synthetic import SymmetryTask
from equivariant.actions import Action
from equivariant.groups import Group
from equivariant.nn.emlp import PlainNetwork, TensorFrameAverage, TensorNetwork
from equivariant.nn.emlp.linear import Start
from equivariant.nn.emlp.network import Weights
from equivariant.recipes.soft_symmetries.settings import SoftExperiment
from equivariant.regularizers import (
    Fixed,
    LayerRelaxation,
    OneShot,
    Penalty,
    PrimalDual,
    Smooth,
    SoftEquivariance,
    Strengths,
)
from equivariant.training.learners.soft import SoftLearner

STRENGTHS = {
    "projection": 1.0, "smooth": 1.0, "scale-free": 1.0, "frobenius": 0.03, "spectral": 0.1,
    "sampled": 1.0, "generators": 0.1, "primal-dual": 0.01,
}  # fmt: skip
"""Of the methods with a term, unless others are asked for; of primal-dual the rate."""

KINDS = {
    "projection": "projection", "smooth": "scale_free", "scale-free": "scale_free",
    "frobenius": "frobenius", "spectral": "spectral", "sampled": "sampled",
    "generators": "generators", "primal-dual": "scale_free",
}  # fmt: skip
"""The penalty of the methods with a term."""

_SCALED = ("projection", "sampled", "generators")  # penalties that leave little of a free start


def build_model(config: SoftExperiment, task: SymmetryTask) -> nn.Module:
    """The network of a method, with fresh weights from PyTorch's random numbers.

    Args:
        config: The experiment.
        task: For its actions and what of them is exact.
    """
    act_in, act_out = task.act_in, task.act_out
    if config.method in ("mlp", "augmented", "frames"):
        plain = PlainNetwork(act_in, act_out, width=config.width, layers=config.layers)
        return TensorFrameAverage(plain, act_in, act_out) if config.method == "frames" else plain
    if config.method == "emlp":
        return _network(config, act_in, act_out, "exact")
    if config.method == "emlp-true":
        group = task.candidates[task.exact[0]] if len(task.exact) == 1 else task.group
        return _network(config, act_in.under(group), act_out.under(group), "exact")
    if config.method in ("residual", "mixed-residual"):
        mixed = config.method == "mixed-residual" and len(task.exact) == 1
        rest = task.candidates[task.exact[0]] if mixed else None
        return _network(config, act_in, act_out, "residual", rest_group=rest)
    start: Start = "scaled" if config.method in _SCALED else "orthogonal"
    return _network(config, act_in, act_out, "free", start=start)


def build_learner(config: SoftExperiment, task: SymmetryTask) -> SoftLearner:
    """Network and term of an experiment.

    Args:
        config: The experiment.
        task: Its training set.
    """
    model = build_model(config, task)
    if config.method == "relaxed":
        return SoftLearner(model, relaxation=LayerRelaxation(model, task.group))
    if config.method not in KINDS:
        return SoftLearner(model)
    term = SoftEquivariance(
        model, task.candidates, penalty=Penalty(KINDS[config.method]),  # type: ignore[arg-type]
        strengths=_rule(config), seed=config.seed,
    )  # fmt: skip
    return SoftLearner(model, term)


def levels_term(model: nn.Module, task: SymmetryTask) -> SoftEquivariance | None:
    """A term to read levels from; None of networks without free layers.

    Args:
        model: A trained network.
        task: For its candidates.
    """
    free = isinstance(model, TensorNetwork) and model.weights == "free"
    return SoftEquivariance(model, task.candidates, strengths=Fixed(0.0)) if free else None


def moved_by(config: SoftExperiment, task: SymmetryTask) -> tuple[Group, ...]:
    """The groups whose elements move examples while training: the exact ones, if augmented."""
    if config.method != "augmented":
        return ()
    return tuple(task.candidates[name] for name in task.exact)


def _network(
    config: SoftExperiment, act_in: Action, act_out: Action, weights: Weights, *,
    start: Start = "orthogonal", rest_group: Group | None = None,
) -> TensorNetwork:  # fmt: skip
    """Hidden tensors of rank 2 of space; of rank 1 where matrices are 4 x 4."""
    group = act_out.group or act_in.group
    most = 1 if group is not None and group.matrix_size > 3 else 2
    return TensorNetwork(
        act_in, act_out, width=config.width, layers=config.layers, weights=weights, most=most,
        start=start, rest_group=rest_group,
    )  # fmt: skip


def _rule(config: SoftExperiment) -> Strengths:
    """The paper's one-shot rule half way through, or that of the method."""
    given = config.strength
    value = STRENGTHS[config.method] if given is None else given
    at = config.tune_at or max(config.fit.steps // 2, 1)
    if config.method == "smooth":
        return Smooth(value, power=2.0, decay=0.98, warm_up=at // 2)
    if config.method == "primal-dual":
        return PrimalDual(rate=value, slack_cost=100.0)
    window = max(at // 3, 1)
    return OneShot(value, at=at, power=5.0, window=window, warm_up=window // 2)
