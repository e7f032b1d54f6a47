"""Every preset against loops written from its paper's formula: values and gradients."""

import dataclasses

import oracles_margins
import oracles_other
import oracles_softmax
import pytest
from preset_oracles import check

from equivariant.losses import PRESETS

ORACLES = {**oracles_softmax.ORACLES, **oracles_other.ORACLES, **oracles_margins.ORACLES}
ELSEWHERE = {"prototypes", "redundancy", "dense", "synthesis"}


def of(case):
    return case.split(",")[0]


@pytest.mark.parametrize("case", ORACLES)
def test_value_and_gradients(case):
    check(of(case), ORACLES[case])


def test_every_preset_has_an_oracle():
    proven = {of(case) for case in ORACLES}
    missing = {n for n, p in PRESETS.items() if p.family not in ELSEWHERE} - proven
    assert not missing
    assert "vicreg" in proven
    assert proven <= set(PRESETS)


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("dcl", {"tau": 0.101}),
        ("dclw", {"tau": 0.2, "sigma": 0.11}),
        ("csgcl", {"gamma": 0.61}),
        ("cacr", {"t_push": 0.91}),
        ("circle", {"margin": 0.31, "gamma": 8.0}),
        ("margin", {"alpha": 0.21}),
        ("triplet", {"margin": 0.41}),
        ("symile_all", {"tau": 1.36}),
        ("sie", {"equivariance": 0.45}),
    ],
)
def test_an_oracle_rejects_other_settings(case, settings):
    trained = case == "symile_all"  # its oracle reads the trained temperature: halve it instead
    oracle = dataclasses.replace(ORACLES[case], settings=settings)
    if trained:
        formula = oracle.by_loops
        oracle = dataclasses.replace(oracle, by_loops=lambda s, loss: formula(s, loss) * 1.001)
    with pytest.raises(AssertionError):
        check(case, oracle)
