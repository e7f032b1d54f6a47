"""The study's claims follow from its numbers, and unbalanced seeds are left out."""

import pytest
from scipy import stats

from benchmarks.sie.claims import CLAIMS, interval, sentences, verdict
from benchmarks.sie.rows import ABLATIONS, ROWS, StudyBudget
from benchmarks.sie.tables import balanced_seeds, write_tables
from equivariant.runs import write_json


def record(row, seed, rotation):
    """What a training writes, as far as tables read it."""
    config = ROWS[row][1]
    part = {
        "classification": {"top1": 0.3, "majority": 0.1},
        "rotation": {"score": {"r2_flat": rotation, "blind_r2_flat": 0.229}},
        "color": {"r2": 0.1},
    }
    parts = {"all": part}
    if config.split:
        parts |= {"invariant": part, "equivariant": part}
    measures = {"parts": parts}
    moves = row.startswith("sie") or row in ("equimod", "exact", "only_equivariance")
    if moves:
        ranks = {"mrr": 0.4, "chance_mrr": 0.34, "hits": {"1": 0.2}, "chance_hits": {"1": 0.125}}
        measures |= {"retrieval": ranks, "pre": {"pre": 0.5, "copy": 0.55}}
    point = {"step": 100, "probe/top1": 0.2, "probe/rotation_r2": rotation}
    return {
        "row": row, "seed": seed, "measures": measures, "objects": [8, 2], "views": 8,
        "size_px": 32, "budget": {"steps": 100, "batch_size": 8}, "curve": [point],
        "sensitivity": 0.5 if moves else None,
    }  # fmt: skip


def test_intervals_and_verdicts_are_students():
    values = [0.11, 0.13, 0.08, 0.2]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 3, loc=mean, scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-3)
    assert verdict(values) == "reproduced"
    assert verdict([-v for v in values]) == "not reproduced"
    assert verdict([0.5]) == verdict([0.2, -0.1]) == "unclear at this scale"


def test_tables_are_of_seeds_that_ended_and_say_what_differs(tmp_path):
    for seed in range(3):
        for row in ROWS:
            if (seed, row) != (2, "exact"):  # not ended
                better = 0.1 + 0.01 * seed if row == "exact" else 0.0
                path = tmp_path / f"{row}-seed{seed}.json"
                write_json(path, record(row, seed, 0.23 + better))
    seeds = balanced_seeds(tmp_path)
    assert [rows["sie"]["seed"] for rows in seeds] == [0, 1]
    found = sentences(seeds)
    assert len(found) == len(CLAIMS)
    exact = next(line for line in found if "exact action knows rotation better than SIE" in line)
    assert "**reproduced**" in exact
    assert "+0.105" in exact
    text = write_tables(tmp_path)
    assert text.startswith("2 seeds; 8 training objects")
    assert (tmp_path / "table.md").read_text() == text
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    with pytest.raises(SystemExit, match="no seed"):
        balanced_seeds(tmp_path / "empty")


def test_a_rotation_that_nobody_knows_reproduces_nothing():
    """SIE is above SimCLR in all seeds, and both are where answering the mean is."""
    spread = {"sie": 0.0015, "simclr": 0.0}
    seeds = [
        {row: record(row, seed, 0.2285 + spread.get(row, 0.0) + noise) for row in ROWS}
        for seed, noise in enumerate((0.0, 0.001, -0.001))
    ]
    found = next(line for line in sentences(seeds) if "better than SimCLR:" in line)
    assert "**unclear at this scale** (rotation R², difference +0.002 ± 0.000)" in found


def test_every_row_has_the_same_budget_and_ablations_change_one_thing(tmp_path):
    fits = {StudyBudget().experiment(tmp_path, row, 0).fit for row in ROWS}
    assert len(fits) == 1
    base = ROWS["sie"][1]
    for row in ABLATIONS:
        changed = {
            name for name, value in vars(ROWS[row][1]).items() if value != getattr(base, name)
        }
        # A perceptron has no start gain.
        assert len(changed - ({"gain"} if row == "sie_mlp" else set())) == 1
