"""Builds that were killed, shared or lost a worker end with the bytes of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from building import OBJECTS, SOURCE, bytes_of, quiet

from datasets3d.views.engines import run_tasks
from equivariant.errors import EquivariantError

# Forks once per moment, so that what is slow, importing, happens once.
CHILD = """
import os, signal, sys
from datasets3d import BuildConfig, ProceduralMeshes, build as run

def kill_at(count, module, name):
    original, calls = getattr(module, name), 0
    def wrapped(*args):
        nonlocal calls
        calls += name != "replace" or str(args[1]).startswith(sys.argv[1])  # a compiler's cache
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)
    setattr(module, name, wrapped)

places = {"write": (os, "write"), "rename": (os, "replace"), "sync": (os, "fsync")}
for moment in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        kind, count = moment.split("-")
        kill_at(int(count), *places[kind])
        run(ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"]),
            os.path.join(sys.argv[1], moment),
            config=BuildConfig(views=3, size_px=24, samples_per_side=1), workers=1, progress=False)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        sys.exit(f"{moment} was not killed")
"""
# Killed at its first result, while both workers have more to do.
PARENT = """
import os, signal, sys
from datasets3d import BuildConfig, ProceduralMeshes, build

class Killing(sys.modules["datasets3d.views.build"].tqdm):
    def update(self, n=1):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    sys.modules["datasets3d.views.build"].tqdm = Killing
    build(ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"]), sys.argv[1],
          config=BuildConfig(views=3, size_px=24, samples_per_side=1), workers=2, progress=False)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


# 15 objects of 6 files and a note; renames: the plan, a note and a folder of each of 15 objects,
# 5 lists, the sheet, the manifest.
MOMENTS = [
    ("sync", 1),  # while the plan is being written
    ("write", 18),  # in the third object, some of its files written
    ("rename", 17),  # seven objects whole, the next one complete but not renamed
    ("sync", 3),  # all objects whole, one list written, another under its temporary name
    ("rename", 38),  # lists and contact sheet written, the manifest under its temporary name
]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Builds killed at each moment."""
    folder = tmp_path_factory.mktemp("killed")
    names = {moment: f"{moment[0]}-{moment[1]}" for moment in MOMENTS}
    command = [sys.executable, "-c", CHILD, str(folder), *names.values()]
    subprocess.run(command, env=ENVIRONMENT, check=True, timeout=120)
    return {moment: folder / name for moment, name in names.items()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(killed, whole, moment):
    root = killed[moment]
    assert not (root / "manifest.json").exists()
    hidden = [p for p in root.rglob("*") if p.name.startswith(".")]
    assert hidden, "the kill left something half-written"
    before = sum(1 for p in root.glob("[a-z]*/[a-z]*") if p.is_dir())
    expected = {("sync", 1): 0, ("write", 18): 2, ("rename", 17): 7}.get(moment, OBJECTS)
    assert before == expected
    report = quiet(SOURCE, root)
    assert report.rendered == 3 * (OBJECTS - before) and report.objects == OBJECTS
    assert bytes_of(root) == bytes_of(whole)


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(whole, tmp_path):
    """The parent alone is killed while two workers render; two others go on at once.

    So every object was rendered by one of two workers, and the bytes are those of one process.
    """
    root, script = tmp_path / "out", tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(root)], env=ENVIRONMENT, start_new_session=True
    )
    assert parent.wait(timeout=120) == -signal.SIGKILL
    assert not (root / "manifest.json").exists()
    assert quiet(SOURCE, root, workers=2).rendered < 45
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(parent.pid, 0)
            time.sleep(0.05)
    assert bytes_of(root) == bytes_of(whole)


def test_shards_write_the_same(whole, tmp_path):
    second = quiet(SOURCE, tmp_path, shard=1, num_shards=2)
    assert (second.objects, second.rendered) == (7, 21)
    quiet(SOURCE, tmp_path, shard=0, num_shards=2)
    assert not (tmp_path / "manifest.json").exists()
    last = quiet(SOURCE, tmp_path)
    assert (last.objects, last.rendered) == (OBJECTS, 0)
    assert bytes_of(tmp_path) == bytes_of(whole)


@pytest.mark.slow
def test_workers_have_one_thread_and_are_missed_when_they_die(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    tasks = ["__import__('os').environ['OMP_NUM_THREADS']"] * 8 + ["__import__('os')._exit(1)"]
    results = []
    with pytest.raises(EquivariantError, match="workers that live until"):
        for result in run_tasks(eval, tasks, workers=2, engine="local"):
            results.append(result)
    assert len(results) >= 5 and set(results) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"
