"""The Python of the README and of the pages runs as it stands, and links lead somewhere."""

import re
from pathlib import Path

import pytest

from equivariant.commands.grammar.verbs import VERBS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "RESULTS.md", CONTRIBUTING]


def test_python_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    verdicts = re.findall(
        r"^(not equivariant|equivariant up to rounding): ", capsys.readouterr().out, re.M
    )
    assert verdicts == ["not equivariant"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_of_pages_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "tests" / "measure")  # my_models: small stand-ins
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize(
    ("page", "target"),
    [
        (page, target)
        for page in (README, *PAGES)
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
    ],
)
def test_links_lead_somewhere(page, target):
    assert (page.parent / target).exists(), target


def test_the_readme_is_read_in_minutes():
    assert len(README.read_bytes()) <= 10_240


def test_commands_named_exist():
    text = README.read_text()
    verbs = set(re.findall(r"^equivariant (\w+)", text, re.MULTILINE))
    assert verbs <= {*VERBS}


def test_contributing_names_what_there_is():
    text = CONTRIBUTING.read_text()
    paths = set(
        re.findall(r"`((?:equivariant|datasets3d|renderers|tests|examples|docs)/[^`\s]+)`", text)
    )
    assert len(paths) > 40
    for path in paths - {path for path in paths if "{" in path}:
        assert list(ROOT.glob(path.rstrip("/"))), path
    tasks = re.findall(r"^## (Add|Change|Find) ", text, re.MULTILINE)
    assert len(tasks) == 8


def test_every_page_of_the_site_is_in_its_contents():
    listed = set(re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert listed == there
