"""Which reader shows which construct right, refuses it, or shows it wrong without a word.

    python -m benchmarks.meshes.table

writes ``benchmarks/results/mesh_readers.json`` and prints the table of RESULTS.md. Every reader
runs in a process of its own, since one may crash. Blender runs in a Python of its own (``bpy`` 5.0
wants another numpy), which ``PYTHON_WITH_BPY`` names; readers that are not there are "absent".
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.meshes.constructs import CONSTRUCTS, Construct
from benchmarks.meshes.readers import READERS

OUT = Path(__file__).parents[1] / "results" / "mesh_readers.json"
TOLERANCE = 3  # levels of 255


def verdict(construct: Construct, reader: str) -> tuple[str, str]:
    """ "right", "refused", "said" (shown otherwise, with a warning) or "wrong", and why.

    Args:
        construct: What the file holds.
        reader: One of ``READERS``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = construct.write(Path(folder))
        try:
            seen = READERS[reader](path)
            area = seen.area()
            colors = {place: seen.color_at(*place) for place, _ in construct.colors}
        except ImportError:
            return "absent", ""
        except Exception as error:
            return "refused", f"{type(error).__name__}: {str(error)[:120]}".replace(folder, "")
    wrong = [] if abs(area - construct.area) < 1e-3 else [f"area {area:.3f} for {construct.area}"]
    for place, expected in construct.colors:
        got = colors[place]
        if got is None or max(abs(a - b) for a, b in zip(got, expected, strict=True)) > TOLERANCE:
            wrong.append(f"{got} for {expected} at {place}")
    if not wrong:
        return "right", ""
    return ("said" if seen.notes else "wrong"), wrong[0]


class Apart:
    """:func:`verdict` in a process of its own, a new one where it dies."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def verdict(self, construct: int, reader: str) -> tuple[str, str]:
        """As :func:`verdict` of the construct of this number; "crashed" where the process dies."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self._pool.submit(_verdict, construct, reader).result()
        except BrokenProcessPool:
            self._pool = None
            return "crashed", "the process died"


def _verdict(number: int, reader: str) -> tuple[str, str]:
    return verdict(CONSTRUCTS[number], reader)


def version_of_blender() -> str:
    """Of the ``bpy`` that is used, or "absent"."""
    python = os.environ.get("PYTHON_WITH_BPY")
    if not python:
        return "absent"
    code = "from importlib.metadata import version; print(version('bpy'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "absent"


def main() -> None:
    """Write the results and print the table."""
    apart = Apart()
    rows = {}
    for number, construct in enumerate(CONSTRUCTS):
        found = {reader: apart.verdict(number, reader) for reader in READERS}
        rows[construct.name] = {k: {"verdict": v, "why": w} for k, (v, w) in found.items()}
    versions = {}
    for package in ("trimesh", "assimp-py", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    versions["bpy"] = version_of_blender()
    OUT.write_text(json.dumps({"versions": versions, "constructs": rows}, indent=1) + "\n")
    lines = ["| construct | " + " | ".join(READERS) + " |", "|---" * (len(READERS) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(row[reader]["verdict"] for reader in READERS) + " |"
        for name, row in rows.items()
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
