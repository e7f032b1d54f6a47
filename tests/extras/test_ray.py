"""Builds on a real Ray cluster of two nodes, both started on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from datasets3d import BuildConfig, Limits, ProceduralMeshes, build, verify
from datasets3d.meshes import MeshEntry, MeshSource
from renderers import Mesh

ray = pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]
CONFIG = BuildConfig(views=2, size_px=16, samples_per_side=1)
PORT = 20_000 + os.getpid() % 10_000
OF_A_NODE = [
    "--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block",
]  # fmt: skip


@dataclass(frozen=True)
class Slow(MeshSource):
    """Procedural objects that take a while; each notes the node that loads it.

    Args:
        notes: A folder.
        wait_s: Seconds per object.
        deadly: The object that kills its process.
        endless: The object that takes for ever.
    """

    notes: Path
    wait_s: float = 0.0
    deadly: str = ""
    endless: str = ""

    @property
    def inner(self) -> ProceduralMeshes:
        return ProceduralMeshes(instances=8, classes=["chair", "truck"])

    def entries(self) -> list[MeshEntry]:
        return self.inner.entries()

    def describe(self) -> dict[str, str | int | float | bool]:
        return self.inner.describe()

    def load(self, entry: MeshEntry) -> Mesh:
        if ray.is_initialized():
            node = ray.get_runtime_context().get_node_id()
            (self.notes / f"{node} {entry.object_id}").touch()
        if entry.object_id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3600.0 if entry.object_id == self.endless else self.wait_s)
        return self.inner.load(entry)


def descendants(pid: int) -> list[int]:
    """All processes below one, this one first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill(node: subprocess.Popen[bytes]) -> None:
    """Kill a node with all that it started, as a machine that loses its power."""
    for pid in descendants(node.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.wait()


def start(*options: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("ray")), "start", *options, *OF_A_NODE]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def cluster():
    """The process of the second node; the first one holds the head."""
    address = f"127.0.0.1:{PORT}"
    head = start("--head", f"--port={PORT}", "--include-dashboard=false")
    second = start(f"--address={address}")
    try:
        deadline = time.monotonic() + 240
        while not ray.is_initialized():
            with suppress(ConnectionError, RuntimeError):
                ray.init(address=address, log_to_driver=False)
            assert time.monotonic() < deadline, "no head"
        while ray.cluster_resources().get("CPU", 0) < 2:
            assert time.monotonic() < deadline, "no second node"
            if second.poll() is not None:  # it came before the head
                second = start(f"--address={address}")
            time.sleep(0.5)
        yield second
    finally:
        ray.shutdown()
        kill(second)
        kill(head)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("local") / "set"
    build(Slow(root.parent), root, config=CONFIG, workers=1, progress=False)
    return files(root)


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def nodes(notes):
    return {path.name.split()[0] for path in notes.iterdir()}


def test_two_nodes_write_the_same(cluster, whole, tmp_path):
    (tmp_path / "notes").mkdir()
    source = Slow(tmp_path / "notes", wait_s=0.4)
    report = build(source, tmp_path / "set", config=CONFIG, engine="ray", progress=False)
    assert (report.objects, report.failed) == (16, {})
    assert len(nodes(tmp_path / "notes")) == 2, "both nodes rendered"
    assert files(tmp_path / "set") == whole


def test_objects_that_kill_their_process_or_take_too_long_are_set_aside(cluster, tmp_path):
    (tmp_path / "notes").mkdir()
    source = Slow(tmp_path / "notes", deadly="chair-000003", endless="truck-000002")
    report = build(
        source, tmp_path / "set", config=CONFIG, engine="ray", limits=Limits(seconds=8.0),
        progress=False,
    )  # fmt: skip
    assert set(report.failed) == {"chair/chair-000003", "truck/truck-000002"}
    assert all("died" in reason for reason in report.failed.values())
    assert report.objects == 14 and verify(tmp_path / "set") == []


def test_a_node_that_is_killed_midway_loses_nothing(cluster, whole, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()

    def kill_midway():
        while len(nodes(notes)) < 2 or len(list(notes.iterdir())) < 6:
            time.sleep(0.05)
        kill(cluster)

    killer = threading.Thread(target=kill_midway, daemon=True)
    killer.start()
    source = Slow(notes, wait_s=0.8)
    report = build(source, tmp_path / "set", config=CONFIG, engine="ray", progress=False)
    killer.join(timeout=60)
    assert cluster.poll() is not None
    assert (report.objects, report.failed) == (16, {})
    assert files(tmp_path / "set") == whole
