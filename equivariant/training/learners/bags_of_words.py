"""A student that names the words which its teacher sees, over a vocabulary that is a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ShapeError
from equivariant.losses import Bank, Side, collect, preset
from equivariant.training.learners.teachers import TeacherLearner, check_seen


class BagOfWordsLearner(TeacherLearner):
    """Predicts the bag of words of a whole view from another view of the object.

        L = preset("obow")(student(x), words),   y = bag_of_words(local(teacher, x'), words)

    The vocabulary is the last ``words`` features that were pushed: after every step one random
    local feature of each example. All of it is saved with the weights.

    Args:
        model: The student: the field ``student_sees`` to rows (N, dim).
        local: From the teacher and the field ``teacher_sees`` to local features
            (N, places, width).
        dim: Width of the student's rows.
        width: Width of a local feature.
        words: Size of the vocabulary, at least 1; 8192 in the paper.
        decay: Of the teacher; None freezes it.
        kappa: Inverse temperature of the prediction.
        sharpness: Of the assignment to words.
        online: Whether the vocabulary moves; False keeps the first words that fill it.
        student_sees: Name of a field of the batch.
        teacher_sees: Name of a field of the batch.

    Raises:
        ConventionError: A setting is out of range; in a step, the batch has no such field.
        ShapeError: In a step, local features are not (N, places, width).

    Source: Gidaris et al. 2021 (OBoW), with one random place instead of means of 3 × 3 places.
    """

    def __init__(
        self,
        model: nn.Module,
        local: Callable[[nn.Module, Tensor], Tensor],
        *,
        dim: int,
        width: int,
        words: int,
        decay: float | None = 0.99,
        kappa: float = 8.0,
        sharpness: float = 15.0,
        online: bool = True,
        student_sees: str = "x",
        teacher_sees: str = "x",
    ) -> None:
        super().__init__(model, decay=decay)
        self.local, self.online, self.width = local, online, width
        self.student_sees, self.teacher_sees = student_sees, teacher_sees
        self.vocabulary = Bank(words, width)
        self.loss = preset("obow", dim=dim, width=width, kappa=kappa, sharpness=sharpness).build()

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        check_seen(batch, self.student_sees, self.teacher_sees)
        self.follow()
        with torch.no_grad():
            features = self.local(self.teacher, batch[self.teacher_sees])
        if features.ndim != 3 or features.shape[2] != self.width:
            raise ShapeError(
                expected=f"local features of shape (N, places, {self.width})",
                got=f"shape {tuple(features.shape)}", argument="local",
                advice="Flatten maps to places, columns last.",
            )  # fmt: skip
        if not len(self.vocabulary):
            self._push(features)
        words = self.vocabulary.rows().z
        student = Side.of(self.model(batch[self.student_sees]), features=features)
        value = self.loss(a=student, words=words)
        if self.training and (self.online or len(self.vocabulary) < self.vocabulary.size):
            self._push(features)
        return value.total, value.terms

    @torch.no_grad()
    def _push(self, features: Tensor) -> None:
        shape = features.shape[:1]
        place = torch.randint(features.shape[1], shape, generator=self.generator)
        rows = torch.arange(len(features), device=features.device)
        self.vocabulary.push(collect(features[rows, place.to(features.device)]))
