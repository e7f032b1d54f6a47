"""Heads are trained enough to say what a representation holds, with few objects too."""

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.groups import SO3, relative_quaternion_xyzw
from equivariant.measure import Features, ProbeConfig, color_probe, linear_probe, rotation_probe
from equivariant.measure.representations import probes as module
from equivariant.measure.representations.ridge import Moments, chosen_ridge


def hues(objects, seed, views=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(objects, views, 2, generator=generator)


def shift(h):
    return lambda o, i, j: h[o, j] - h[o, i]


def color_score(config, *, train=80, noise=0, dtype=torch.float32):
    h, held = hues(train, 0), hues(40, 1)
    extra = [
        torch.randn(n, 8, noise, generator=torch.Generator().manual_seed(9)) for n in (train, 40)
    ]
    y = [torch.cat(part, -1).to(dtype) for part in ((h, extra[0]), (held, extra[1]))]
    features = [Features(part, torch.zeros(len(part)).long()) for part in y]
    pairs = torch.tensor([(o, i, (i + 1) % 8) for o in range(40) for i in range(4)])
    return color_probe(
        *features, train_target=shift(h), val_target=shift(held), val_pairs=pairs, config=config
    ).r2


@pytest.mark.parametrize("objects", [2, 5, 80])
def test_the_hue_read_from_itself_is_found(objects):
    assert color_score(ProbeConfig(epochs=1), train=objects) > 0.999


def test_the_hue_is_found_beside_many_columns_of_noise():
    assert color_score(ProbeConfig(epochs=1), noise=60) > 0.9


def test_the_published_head_is_a_setting_and_blind_with_few_objects():
    published = ProbeConfig.published()
    assert (published.epochs, published.hidden, published.batch_size) == (300, 1024, 256)
    assert (published.min_steps, published.linear, published.standardize) == (0, "steps", False)
    short = ProbeConfig(epochs=50, min_steps=0, linear="steps")
    assert color_score(short) < 0 < 0.99 < color_score(ProbeConfig(linear="steps", epochs=50))


def test_a_head_takes_its_least_number_of_steps():
    for objects, batch, least, epochs in ((10, 4, 7, 3), (10, 4, 0, 2), (3, 256, 5, 5)):
        config = ProbeConfig(epochs=2, batch_size=batch, min_steps=least)
        draws = module._Draws(torch.Size([objects, 4]), config)
        assert len(list(draws)) == epochs * -(-objects // batch) >= least


def test_classes_and_rotations_are_found_with_few_objects():
    """A class coded by one small column, a rotation by its matrix: 300 steps are too few."""
    label = torch.arange(40) % 4
    code = torch.nn.functional.one_hot(label, 4).float()[:, None].expand(-1, 4, -1)
    y = Features(code, label)
    once = ProbeConfig(epochs=1, hidden=32, min_steps=400)
    assert linear_probe(y, y, classes=4, config=once).top1 == 1.0
    poses = SO3().sample(60, 4, generator=torch.Generator().manual_seed(0))
    features = Features(poses.flatten(2).float(), torch.zeros(60).long())
    pairs = torch.tensor([(o, 0, 1 + o % 3) for o in range(60)])

    def target(o, i, j):
        return relative_quaternion_xyzw(poses[o, i], poses[o, j])

    arguments = {"train_target": target, "val_target": target, "val_pairs": pairs}
    few = ProbeConfig(epochs=20, hidden=32, min_steps=0)
    blind = rotation_probe(features, features, config=few, **arguments)
    seen = rotation_probe(features, features, config=once, **arguments)
    assert blind.score.r2 < 0.2 < 0.3 < seen.score.r2


def test_sums_of_rows_fit_as_the_rows_do():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 4, generator=generator), torch.randn(30, 2, generator=generator)
    parts = Moments.of(x[:11], y[:11]) + Moments.of(x[11:], y[11:])
    weight, offset = parts.ridge(0.1)
    design = torch.cat([x - x.mean(0), (0.1 * 30) ** 0.5 * torch.eye(4)]).double()
    wanted = torch.cat([y - y.mean(0), torch.zeros(4, 2)]).double()
    torch.testing.assert_close(weight, torch.linalg.lstsq(design, wanted)[0], atol=1e-6, rtol=1e-5)
    residual = x.double() @ weight + offset - y
    assert parts.error(weight, offset) == pytest.approx(float(residual.square().sum()))
    noise = torch.randn(30, 2, generator=generator)
    shrunk, _ = chosen_ridge(Moments.of(x[:8], noise[:8]), Moments.of(x[8:], noise[8:]))
    assert float(shrunk.norm()) < float(Moments.of(x, noise).ridge(1e-6)[0].norm())


def test_very_many_pairs_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 500)
    drawn = list(module._all_pairs(torch.Size([80, 8]), ProbeConfig()))
    assert 500 <= sum(len(o) for o, _, _ in drawn) < 600
    assert color_score(ProbeConfig()) > 0.99


def test_heads_out_of_range_are_refused():
    for wrong in ({"epochs": 0}, {"min_steps": -1}, {"learning_rate": 0.0}):
        with pytest.raises(ConventionError, match=next(iter(wrong))):
            ProbeConfig(**wrong)
