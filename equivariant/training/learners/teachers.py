"""Learning from a teacher that is frozen, or a moving average of the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.distillation import embedding_distance
from equivariant.processes import collect
from equivariant.training.learners.pairs import Learner

RowDivergence = Callable[[Tensor, Tensor], Tensor]
"""From the student's and the teacher's rows to one number for each row, shape (N,)."""

Task = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""From the student's rows and the batch to a scalar."""


class TeacherLearner(Learner):
    """A student, and a teacher without gradient.

        teacher ← d teacher + (1 - d) student    after every step of the optimizer

    Args:
        model: The student, which is kept after training.
        teacher: The teacher; None is a copy of the student.
        decay: d, in [0, 1); None freezes the teacher, in evaluation mode.

    Raises:
        ConventionError: The decay is out of range, or a teacher that follows has other weights
            than the student.
    """

    started: Tensor

    def __init__(
        self, model: nn.Module, teacher: nn.Module | None = None, *, decay: float | None
    ) -> None:
        super().__init__(model)
        if decay is not None and not 0 <= decay < 1:
            raise ConventionError(
                expected="a decay in [0, 1)", got=str(decay), argument="decay",
                advice="0.99 for some thousand steps, 0.996 for many; None is a frozen teacher.",
            )  # fmt: skip
        self.decay = decay
        self.teacher = deepcopy(model) if teacher is None else teacher
        self.teacher.requires_grad_(False)
        shapes = [[p.shape for p in part.parameters()] for part in (self.teacher, model)]
        if decay is not None and shapes[0] != shapes[1]:
            raise ConventionError(
                expected="a teacher with the student's weights, since it follows them",
                got="one with others", argument="teacher",
                advice="Pass decay=None for a teacher of another kind.",
            )  # fmt: skip
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        if decay is None:
            self.teacher.eval()

    def train(self, mode: bool = True) -> TeacherLearner:
        """Training mode of all but a frozen teacher."""
        super().train(mode)
        if self.decay is None:
            self.teacher.eval()
        return self

    @torch.no_grad()
    def follow(self) -> None:
        """Take the student's weights into the teacher, but before the first step."""
        if self.decay is None or not self.training:
            return
        if not bool(self.started):
            self.started.fill_(True)
            return
        pairs = zip(self.teacher.parameters(), self.model.parameters(), strict=True)
        for average, weight in pairs:
            average.lerp_(weight, 1 - self.decay)


def check_seen(batch: Mapping[str, Any], student: str, teacher: str) -> None:
    """Refuse a batch without the fields that student and teacher see.

    Args:
        batch: Fields by name.
        student: Name of a field.
        teacher: Name of a field.

    Raises:
        ConventionError: The batch has no such field.
    """
    if not {student, teacher} <= batch.keys():
        raise ConventionError(
            expected=f"fields {student} and {teacher}",
            got=", ".join(batch) or "none", argument="batch",
            advice="student_sees= and teacher_sees= name fields of the batch.",
        )  # fmt: skip


class DistillationLearner(TeacherLearner):
    """A student takes over what a teacher says of each example.

        L = mean_i w_i D(s_i, t_i) + share · task(s),   s = student(x),  t = teacher(x')

    x and x' are one field of the batch or two: two views, or what two modalities see. Divergence
    and weights see the rows of all processes, the task those of its own.

    Args:
        model: The student: the field ``student_sees`` to rows (N, D).
        teacher: The field ``teacher_sees`` to rows (N, E); None is a copy of the student.
        decay: Of a teacher that follows the student; None freezes it.
        divergence: D; the distance of unit vectors by default,
            :func:`equivariant.losses.similarity_divergence` where widths differ.
        weights: w, from both sides' rows, without gradient, for example
            :func:`equivariant.losses.difficulty`; None weighs all alike.
        task: What the student is trained for beside, from its rows and the batch; None is nothing.
        share: Factor of the task.
        student_sees: Name of a field of the batch.
        teacher_sees: Name of a field of the batch; None is the student's.

    Raises:
        ConventionError: As for :class:`TeacherLearner`; in a step, the batch has no such field.
        ShapeError: In a step, divergence or weights are not one number for each row.

    Source: Hinton et al. 2015; weights per example after DCD (2023).
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: nn.Module | None = None,
        *,
        decay: float | None = None,
        divergence: RowDivergence = embedding_distance,
        weights: RowDivergence | None = None,
        task: Task | None = None,
        share: float = 1.0,
        student_sees: str = "x",
        teacher_sees: str | None = None,
    ) -> None:
        super().__init__(model, teacher, decay=decay)
        self.divergence, self.weights = divergence, weights
        self.task, self.share = task, share
        self.student_sees, self.teacher_sees = student_sees, teacher_sees or student_sees

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        check_seen(batch, self.student_sees, self.teacher_sees)
        self.follow()
        own = self.model(batch[self.student_sees])
        with torch.no_grad():
            teacher = collect(self.teacher(batch[self.teacher_sees]))
        student = collect(own)
        distance = _rows(self.divergence(student, teacher), student, "divergence")
        terms = {"distillation": distance.mean().detach()}
        if self.weights is not None:
            distance = distance * _rows(self.weights(student, teacher), student, "weights").detach()
        total = distance.mean()
        if self.task is not None:
            asked = self.task(own, batch)
            total, terms["task"] = total + self.share * asked, asked.detach()
        return total, terms


def _rows(values: Tensor, like: Tensor, argument: str) -> Tensor:
    if values.shape != like.shape[:1]:
        raise ShapeError(
            expected=f"one number for each row, shape ({len(like)},)",
            got=f"shape {tuple(values.shape)}", argument=argument,
            advice="Return the values of rows, not their mean.",
        )  # fmt: skip
    return values
