"""The table of papers says what the file says, and the page says what the table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import equivariant.losses
import equivariant.measure
import equivariant.nn
import equivariant.regularizers
import equivariant.training
from benchmarks.mechanisms import papers
from benchmarks.mechanisms.__main__ import RESULTS, main
from benchmarks.mechanisms.page import PAGE, marked, replaced
from benchmarks.mechanisms.papers import MISSING, PAPERS, papers_table, summary
from benchmarks.mechanisms.registry import EXPERIMENTS
from benchmarks.mechanisms.report import table
from equivariant.losses import PRESETS
from equivariant.runs import read_json, write_json

PLACES = (
    equivariant.losses, equivariant.measure, equivariant.nn, equivariant.regularizers,
    equivariant.training,
)  # fmt: skip


def record(gain: float, error: float, verdict: str, seeds: int = 5) -> dict[str, Any]:
    difference = {"mean": gain, "standard_error": error}
    return {
        "title": "A against B", "planted": "structure", "control": "none", "metric": "score",
        "higher_is_better": True, "seeds": list(range(seeds)), "verdict": verdict,
        "conditions": {key: {"difference": difference} for key in ("planted", "control")},
    }  # fmt: skip


def test_the_list_is_whole_and_names_what_there_is() -> None:
    assert [paper.number for paper in PAPERS] == list(range(1, 54))
    used = [name for paper in PAPERS for name in paper.experiments]
    assert len(used) == len(set(used)) and set(used) <= set(EXPERIMENTS)
    # experiments that belong to no row: forms of what rows are compared with
    assert set(EXPERIMENTS) - set(used) == {"inner_sum", "supervised", "align_uniform", "vicreg"}
    for name in (name for paper in PAPERS for name in paper.built):
        assert name in PRESETS or any(hasattr(place, name) for place in PLACES), name


def test_rows_of_a_page_and_their_tables_elsewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for paper in PAPERS:
        found = paper.elsewhere and (
            f"**{paper.elsewhere}" in text or f"\n## {paper.elsewhere}\n" in text
        )
        assert found or not paper.elsewhere, paper.elsewhere


def test_the_page_shows_what_the_file_holds() -> None:
    text, stored = PAGE.read_text(encoding="utf-8"), read_json(RESULTS)
    trials = stored["experiments"], stored["first_trials"]
    assert marked(text, "mechanisms") == table(*trials)
    assert marked(text, "papers") == papers_table(*trials)
    trials[0]["look"]["conditions"]["planted"]["difference"]["mean"] += 0.001  # a page out of date
    assert marked(text, "papers") != papers_table(*trials)


def test_an_interval_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    # the 97.5 % point of Student's t with 4 degrees of freedom is 2.7764
    monkeypatch.setattr(papers, "PAPERS", (papers.Paper(1, "One", (), ("one",)),))
    row = papers_table({"one": record(1.0, 0.1, "helps")}, {}).splitlines()[2]
    assert "| 1.000 [0.722, 1.278] | 1.000 [0.722, 1.278] | helps |" in row
    row = papers_table({"one": record(1.0, 0.1, "no gain", seeds=1)}, {}).splitlines()[2]
    assert "| 1.000 | 1.000 | no gain |" in row


def test_both_trials_and_rows_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        papers.Paper(1, "One", (), ("one", "two")),
        papers.Paper(2, "Two", ("clip",)),
        papers.Paper(3, "Three", (), (), "Elsewhere"),
        papers.Paper(4, "Four", (), ("unrun",)),
    )
    monkeypatch.setattr(papers, "PAPERS", rows)
    last = {"one": record(0.5, 0.1, "no gain"), "two": record(0.4, 0.1, "helps")}
    lines = papers_table(last, {"one": record(0.25, 0.1, "control violated")}).splitlines()
    assert len({line.count("|") for line in lines[:8]}) == 1
    assert "`one`, second trial: A against B" in lines[2] and "| 0.500 [" in lines[2]
    assert "`one`, first trial: A against B" in lines[3] and "control violated |" in lines[3]
    assert "`two`: A" in lines[4]
    assert MISSING in lines[5] and lines[5].endswith("| not measured |")
    assert "*Elsewhere*" in lines[6] and lines[7].endswith("| not measured |")
    said = summary(last)
    assert "Of 4 rows 1 have an experiment" in said and "1 helps, 0 control violated" in said
    assert "1 are core systems, measured in tables of their own (3)" in said
    assert "2 have no experiment (2, 4)" in said


def test_marks_are_needed_once() -> None:
    text = "a\n<!-- begin x -->\n\nold\n\n<!-- end x -->\nb"
    assert marked(text, "x") == "old"
    assert marked(replaced(text, "x", r"new \1"), "x") == r"new \1"
    for broken in ("a", text + text):
        with pytest.raises(ValueError, match="marks of x"):
            marked(broken, "x")


def test_again_keeps_the_first_trial_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mechanisms.json"
    trials = iter((record(0.1, 0.1, "no gain"), record(0.5, 0.1, "helps")))
    monkeypatch.setattr(
        "benchmarks.mechanisms.__main__.run_experiment",
        lambda *_, **__: {**next(trials), "seconds": 0.0},
    )
    monkeypatch.setattr("benchmarks.mechanisms.__main__.table", lambda *_: "")
    with pytest.raises(SystemExit):  # nothing is there that a second trial could follow
        main(["look", "--again", "--out", str(out)])
    main(["look", "--out", str(out)])
    main(["look", "--again", "--out", str(out)])
    stored = read_json(out)
    assert stored["first_trials"]["look"]["verdict"] == "no gain"
    assert stored["experiments"]["look"]["verdict"] == "helps"
    with pytest.raises(SystemExit):
        main(["look", "--again", "--out", str(out)])
    assert "not for a third" in capsys.readouterr().err


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "mechanisms.json"
    marks = "".join(
        f"<!-- begin {name} -->\n\n-\n\n<!-- end {name} -->\n" for name in ("mechanisms", "papers")
    )
    page.write_text(marks, encoding="utf-8")
    write_json(out, {"experiments": {}})
    main(["--page", str(page), "--out", str(out)])
    text = page.read_text(encoding="utf-8")
    assert marked(text, "mechanisms") == table({}) and "not measured" in marked(text, "papers")
