"""What the packaging files promise, against one another."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(path):
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.lower().replace("_", "-").split("==") for line in lines if line)


def requirements(project, *extras):
    listed = list(project["dependencies"])
    for extra in extras:
        listed += project["optional-dependencies"][extra]
    names = (re.match(r"([\w.-]+)(?:>=([\d.]+))?", line) for line in listed)
    return {name.group(1).lower().replace("_", "-"): name.group(2) for name in names}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def numbers(version):
    parts = [int(part) for part in version.split(".")]
    return parts + [0] * (4 - len(parts))


def test_tested_lowest_versions_are_the_promised_ones():
    lowest = pins(ROOT / ".ci" / "lowest-constraints.txt")
    for name, bound in requirements(project()).items():
        tested = numbers(lowest[name])
        assert tested[: len(bound.split("."))] == numbers(bound)[: len(bound.split("."))], name


def test_pins_hold_no_optional_engine_and_no_compiler_of_one_platform():
    core = set(requirements(project(), "test"))
    optional = project()["optional-dependencies"]
    engines = {name for extra in optional if extra not in ("test", "docs", "dev")
               for name in requirements(project(), extra)} - core  # fmt: skip
    pinned = set(pins(ROOT / "constraints.txt"))
    assert not pinned & engines
    assert not {name for name in pinned if name.startswith(("nvidia-", "cuda-", "triton"))}


def test_pins_are_within_the_bounds():
    pinned = pins(ROOT / "constraints.txt")
    for name, bound in requirements(project(), "test").items():
        assert name in pinned, name
        if bound:
            exact = re.match(r"[\d.]+", pinned[name]).group().strip(".")
            assert numbers(exact) >= numbers(bound), name
