"""Builds that are killed at random moments, and builds of one folder that start together.

    python tests/datasets3d/builds/interrupted_builds.py --kills 20 --pairs 80

prints one line of JSON for each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from datasets3d import BuildConfig, ProceduralMeshes, build, verify

ROOT = Path(__file__).parents[3]
CONFIG = BuildConfig(views=3, size_px=24, samples_per_side=1)
BUILD = """
import sys
from datasets3d import BuildConfig, ProceduralMeshes, build
build(ProceduralMeshes(instances=int(sys.argv[2])), sys.argv[1], workers=2, progress=False,
      config=BuildConfig(views=3, size_px=24, samples_per_side=1))
"""


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rendered(root: Path) -> int:
    return sum(1 for _ in root.glob("[a-z]*/[a-z]*"))


def killed_builds(folder: Path, *, kills: int, instances: int, seed: int = 0) -> dict[str, object]:
    """Kill a build of two workers so many times, each time at a random moment of its work.

    In turn the parent alone is killed, and its workers with it. Then it is left to finish.

    Returns:
        Kills that hit a running build, objects that were there at each of them, and whether the
        bytes are those of a build of one process that nobody disturbed.
    """
    draw, out = random.Random(seed), folder / "killed"
    command = [sys.executable, "-c", BUILD, str(out), str(instances)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    share = max(1, 16 * instances // (kills + 2))
    moments = []
    for number in range(kills):
        run = subprocess.Popen(command, env=environment, start_new_session=True)
        wanted = rendered(out) + draw.randrange(share + 1)
        while run.poll() is None and rendered(out) < wanted:
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.1))
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL) if number % 2 else os.killpg(run.pid, signal.SIGKILL)
            moments.append(rendered(out))
        run.wait()
    subprocess.run(command, env=environment, check=True)
    build(ProceduralMeshes(instances=instances), folder / "whole", config=CONFIG, workers=1,
          progress=False)  # fmt: skip
    same = contents(out) == contents(folder / "whole")
    return {"kills": len(moments), "objects_at_kills": moments, "same_bytes": same,
            "verified": verify(out) == []}  # fmt: skip


def _together(out: Path, workers: int, start, results) -> None:
    start.wait()
    try:
        source = ProceduralMeshes(instances=1, classes=["truck", "chair"])
        report = build(source, out, config=CONFIG, workers=workers, progress=False)
        results.put(f"{report.objects} objects")
    except BaseException as error:
        results.put(f"{type(error).__name__}: {error}")


def builds_together(folder: Path, *, pairs: int, workers: int = 1) -> dict[str, object]:
    """Start two builds of one folder together, so many times.

    Returns:
        What they said, counted, and how many folders were not whole afterwards.
    """
    context, said, broken = multiprocessing.get_context("fork"), Counter[str](), 0
    for number in range(pairs):
        out = folder / f"pair-{number}"
        start, results = context.Barrier(2), context.Queue()
        both = [
            context.Process(target=_together, args=(out, workers, start, results)) for _ in range(2)
        ]
        for process in both:
            process.start()
        said.update(results.get(timeout=300) for _ in both)
        for process in both:
            process.join()
        broken += verify(out) != []
    return {"pairs": pairs, "workers": workers, "said": dict(said), "broken": broken}


def main() -> None:
    """Run both, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        found = [builds_together(folder, pairs=options.pairs)]
        found.append(
            killed_builds(
                folder, kills=options.kills, instances=options.instances, seed=options.seed
            )
        )
    finally:
        shutil.rmtree(folder)
    for row in found:
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
