"""Soft equivariance: one term of a loss that pulls layers towards candidate symmetries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.regularizers.declared_maps import Representations, declared_maps
from equivariant.regularizers.levels import Levels, levels_of_tables
from equivariant.regularizers.penalties import Kind, Penalty, relative_levels
from equivariant.regularizers.stacked_projection import StackedProjection
from equivariant.regularizers.strengths import Fixed, Strengths, ValidationDriven
from equivariant.shapes import Float, Scalar


class SoftEquivariance:
    """A term Σ_g λ_g Σ_l R(W_l, g) over candidate groups g and the layers l of a model.

    The weights stay free; the term alone pulls them towards what commutes with each group, as
    strongly as its λ says. By default R is the projection penalty of Kim et al.,

        R(W, g) = ½ |W - P_g W|² + ½ |b - P_g b|²,   P_g the orthogonal projection on the linear
                                                     maps that commute with g

    Call it once per training step and add what it returns to the loss. :meth:`levels` says which
    symmetries the trained weights respect.

    Layers that declare their representations, by attributes ``act_in`` and ``act_out`` or in
    ``representations``, are taken: linear layers, convolutions (of which every tap is a map from
    channels to channels), ``torch.nn.MultiheadAttention`` and hypernetworks (linear in the
    features of the element, which ``act_in`` moves). Actions may be of any group with matrices
    of the candidates' size; each candidate takes the same kinds of tensors
    (:meth:`Action.under`).

    Args:
        model: Any module; its weights are read anew at every call.
        candidates: Groups by name, or in a list (then named as they print), at least one.
        representations: Actions on in- and outputs by layer name; None takes what layers declare.
        penalty: A :class:`Penalty`, or the word for its kind.
        strengths: A rule, or fixed numbers.
        seed: Of sampled penalties.

    Raises:
        ConventionError: No candidates, what is no group, two of one name, or layers cannot be read.
        ShapeError: A representation does not fit its layer.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import O3, Scaling
        >>> model = nn.Linear(6, 3)
        >>> acts = (2 * Tensors(O3(), 1), Tensors(O3(), 1))
        >>> term = SoftEquivariance(
        ...     model, {"O(3)": O3(), "scale": Scaling(3)}, representations={"": acts}
        ... )
        >>> term().item() > 0, [row.group for row in term.levels().rows]
        (True, ['O(3)', 'scale'])

    Source: Kim, Lee, Yang, Lee 2023.
    """

    def __init__(
        self,
        model: nn.Module,
        candidates: Mapping[str, Group] | Sequence[Group],
        *,
        representations: Representations | None = None,
        penalty: Penalty | Kind = "projection",
        strengths: Strengths | float | Sequence[float] = 1.0,
        seed: int = 0,
    ) -> None:
        named = _named(candidates)
        if len(set(named.values())) != len(named):
            raise ConventionError(
                expected="different groups", got=", ".join(map(str, named.values())),
                argument="candidates",
                advice="Of a group that stands twice neither can be told from the other.",
            )  # fmt: skip
        self.model, self.candidates = model, named
        self.penalty = penalty if isinstance(penalty, Penalty) else Penalty(penalty)
        self.strengths = strengths if isinstance(strengths, Strengths) else Fixed(strengths)
        maps = declared_maps(model, representations)
        self.stack = StackedProjection(maps, list(named.values()))
        self.strengths.start(len(self.stack.layers), len(named))
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the term is about."""
        return tuple(self.stack.layers)

    def __call__(self) -> Scalar:
        """The term, a scalar in the dtype of the weights, at least float32, and on their device.

        While gradients are recorded the rule of the strengths takes notice of the penalties;
        under ``torch.no_grad()`` it does not.
        """
        table = self.penalty.table(self.stack, self.generator)
        term = (self.strengths.values.to(table) * table).sum()
        if torch.is_grad_enabled():
            self.strengths.update(table.detach().double().cpu())
        return term

    def penalties(self) -> Float[Tensor, "layers groups"]:
        """R of every layer and group, without strengths, differentiable."""
        return self.penalty.table(self.stack, self.generator)

    def relative(self) -> Float[Tensor, "layers groups"]:
        """Scale-free levels of every layer and group, float64; NaN where a group demands nothing.

        0 is exact, 1 what random weights have.
        """
        return relative_levels(self.stack)

    def levels(self, *, tolerance: float = 0.01, confidence: float = 0.95) -> Levels:
        """How far each candidate is broken by the weights as they are, with a verdict.

        Args:
            tolerance: The level up to which a symmetry counts as holding, above 0.
            confidence: Of the bootstrap intervals over layers, in (0, 1).

        Raises:
            ConventionError: A number is out of range.
        """
        return levels_of_tables(
            [self.relative()], list(self.candidates), tolerance=tolerance, confidence=confidence
        )

    def validate(self, loss: Scalar) -> Float[Tensor, " groups"]:
        """Let :class:`ValidationDriven` strengths learn from the loss on validation data.

        Args:
            loss: A scalar computed from the model's weights with gradients recorded.

        Returns:
            Cosine of the gradients of the loss and of each group's penalty, shape (groups,),
            float64: positive where asking for the symmetry lowers the loss.

        Raises:
            ConventionError: The strengths follow another rule.
        """
        if not isinstance(self.strengths, ValidationDriven):
            raise ConventionError(
                expected="strengths that are ValidationDriven", got=type(self.strengths).__name__,
                argument="strengths", advice="Only this rule reads validation data.",
            )  # fmt: skip
        weights = [p for p in self.model.parameters() if p.requires_grad]
        down = _flat_gradient(loss, weights)
        table = self.penalties().sum(0)
        cosines = []
        for column in table.unbind():
            pull = _flat_gradient(column, weights)
            size = down.norm() * pull.norm()
            cosines.append(torch.where(size > 0, down @ pull / size, torch.zeros_like(size)))
        found = torch.stack(cosines).double().cpu()
        self.strengths.learn(found)
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Strengths and the state of random numbers, so that training can go on."""
        return {**self.strengths.state(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            ConventionError: It is that of another rule, or of other candidates or layers.
        """
        own = self.state_dict()
        if {k: tuple(v.shape) for k, v in state.items()} != {
            k: tuple(v.shape) for k, v in own.items()
        }:
            raise ConventionError(
                expected=f"the state of a term like this one: {', '.join(sorted(own))}",
                got=", ".join(f"{k} {tuple(v.shape)}" for k, v in sorted(state.items())),
                argument="state", advice="Rule, candidates and layers must be the same.",
            )  # fmt: skip
        rest = dict(state)
        self.generator.set_state(rest.pop("generator").cpu())
        self.strengths.restore(rest)


def discovered_levels(
    terms: Sequence[SoftEquivariance], *, tolerance: float = 0.01, confidence: float = 0.95
) -> Levels:
    """The levels of models trained with different seeds, with intervals over the seeds.

    Args:
        terms: One per model, of the same candidates.
        tolerance: The level up to which a symmetry counts as holding, above 0.
        confidence: Of Student's intervals of the mean log level, in (0, 1).

    Raises:
        ConventionError: No terms, of different candidates, or a number out of range.
    """
    names = {tuple(getattr(term, "candidates", ())) for term in terms}
    if len(names) != 1 or () in names:
        raise ConventionError(
            expected="at least one term, all of the same candidates", got=str(sorted(names)),
            argument="terms", advice="Make the same table of candidates for every seed.",
        )  # fmt: skip
    return levels_of_tables(
        [term.relative() for term in terms], list(terms[0].candidates),
        tolerance=tolerance, confidence=confidence,
    )  # fmt: skip


def _named(candidates: object) -> dict[str, Group]:
    """Groups by name, from a table or a list."""
    if isinstance(candidates, Mapping):
        pairs = list(candidates.items())
    elif isinstance(candidates, Sequence) and not isinstance(candidates, str):
        pairs = [(str(group), group) for group in candidates]
    else:
        pairs = [("", candidates)]
    wrong = [group for _, group in pairs if not isinstance(group, Group)]
    listed = isinstance(candidates, Sequence | Mapping) and not isinstance(candidates, str)
    if not pairs or wrong or not listed:
        raise ConventionError(
            expected="at least one group, in a list or by name",
            got=repr(wrong[0]) if wrong else "none" if listed else f"{candidates!r} alone",
            argument="candidates", advice='For example {"O(3)": O3()}.',
        )  # fmt: skip
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ConventionError(
            expected="different groups", got=", ".join(names), argument="candidates",
            advice="A group that stands twice makes their comparison meaningless; or name them.",
        )  # fmt: skip
    return dict(pairs)


def _flat_gradient(value: Tensor, weights: Sequence[Tensor]) -> Tensor:
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(p).flatten() for p in weights])
    found = torch.autograd.grad(value, weights, allow_unused=True, retain_graph=True)
    slopes: list[Tensor | None] = list(found)
    pairs = zip(weights, slopes, strict=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if d is None else d.flatten() for p, d in pairs]
    )
