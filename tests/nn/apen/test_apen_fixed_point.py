"""Labels and parts that agree: fixed points stay under motions, one cloud at a time."""

from __future__ import annotations

import pytest
import torch

from equivariant.actions import Piecewise
from equivariant.errors import ConventionError
from equivariant.groups import SE3
from equivariant.measure import equivariance_error
from equivariant.nn import APENConfig, APENSegmenter, FixedPointSegmenter, Partition

CONFIG = APENConfig(cells=6, widths=(8,), sigmas=(0.3,), hidden=8)
PARTS = (torch.arange(40) // 20).expand(3, -1)


def clouds(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 40, 3, generator=generator, dtype=torch.float64)
    return x * torch.where(PARTS[..., None] == 0, 1.0, 0.2)


class ByCellSize(APENSegmenter):
    """Labels by the spread of a point's cell, which motions leave alone."""

    def forward(self, x, known=None):
        found = super().forward(x, known)
        cells = found.partition
        spread = cells.means((x - cells.means(x)).square().sum(-1, keepdim=True))
        found.logits = torch.cat([spread - 0.5, 0.5 - spread], -1)
        return found


def model(kind=APENSegmenter, rounds=5):
    torch.manual_seed(0)
    return FixedPointSegmenter(kind(2, CONFIG), rounds=rounds).double().eval()


def test_true_parts_are_a_fixed_point_at_every_state():
    f, x, truth = model(ByCellSize), clouds(), Partition(PARTS)
    found = f(x, truth)
    assert f.rounds_taken == 1
    assert Partition(found.logits.argmax(-1)) == truth
    action = Piecewise(SE3(), PARTS[0])
    g = action.group.sample(3, generator=torch.Generator().manual_seed(1))
    again = f(action(g, x), truth)
    torch.testing.assert_close(again.logits, found.logits, atol=1e-9, rtol=0)
    assert again.certificate.tolist() == [1, 1, 1]


def test_rounds_by_hand_and_each_cloud_by_itself():
    f, x = model(rounds=3), clouds()
    start = Partition(torch.arange(40).expand(3, -1) % 3)
    found = f(x, start)
    for k in range(3):
        labels = start.labels[k : k + 1]
        for _ in range(f.rounds):
            alone = f.segmenter(x[k : k + 1], Partition(labels))
            new = alone.logits.argmax(-1)
            if Partition(new) == Partition(labels):
                break
            labels = new
        torch.testing.assert_close(found.logits[k], alone.logits[0], atol=1e-10, rtol=0)


def test_motions_of_the_whole_change_nothing():
    assert equivariance_error(model(), clouds(), samples=3).value("worst") < 1e-9


def test_refusals():
    with pytest.raises(ConventionError, match="round"):
        FixedPointSegmenter(APENSegmenter(2, CONFIG), rounds=0)
