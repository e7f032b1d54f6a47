"""Tasks whose process dies, takes too long or too much; builds that are stopped by hand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from building import SMALL

from datasets3d import Limits, ProceduralMeshes, ViewLaw, build, verify
from datasets3d.meshes import MeshSource
from datasets3d.views.engines import processes, run_tasks
from datasets3d.views.engines.processes import run_in_processes, seconds_to_start
from equivariant.errors import ConventionError, EquivariantError, StorageError
from renderers import Mesh, RendererUnavailableError

ROOT = Path(__file__).parents[3]
LIMITS = Limits(seconds=3.0, bytes=200 << 20)


def odd(task):
    """Squares, but some tasks end their process, wait, or are greedy."""
    kind, value = task
    if kind == "die":
        os._exit(3)
    if kind == "wait":
        time.sleep(600)
    if kind == "greedy":
        return int(np.ones(value << 17).sum())  # so many MiB
    if kind == "die once":
        Path(value).touch(exist_ok=False) if not Path(value).exists() else None
        if Path(value).stat().st_size == 0:
            Path(value).write_text("died")
            os._exit(3)
        return "alive"
    return value**2


def set_aside(task, reason):
    return task[0], reason


@pytest.mark.slow
def test_what_ends_a_process_is_lost_alone(tmp_path):
    tasks = [("square", k) for k in range(4)] + [("die", 0), ("wait", 0)]
    tasks += [("die once", str(tmp_path / "once")), ("greedy", 50), ("square", 7), ("square", 8)]
    found = list(
        run_tasks(odd, tasks, workers=2, engine="local", limits=LIMITS, chunk=2, lost=set_aside)
    )
    lost = dict(answer for answer in found if isinstance(answer, tuple))
    assert sorted(answer for answer in found if isinstance(answer, int)) == [
        0, 1, 4, 9, 49, 64, 50 << 17,
    ]  # fmt: skip
    assert "alive" in found, "a victim is tried once more"
    assert set(lost) == {"die", "wait"}
    assert "died" in lost["die"] and lost["wait"] == "it took longer than 3 s"


@pytest.mark.slow
def test_a_limit_of_memory_is_an_error_of_the_task_and_lifted_after_it():
    tasks = [("greedy", 300)]
    with pytest.raises(MemoryError):
        list(run_tasks(odd, tasks, workers=1, engine="local", limits=LIMITS))
    assert list(run_tasks(odd, tasks, workers=1, engine="local")) == [300 << 17]


@pytest.mark.parametrize("options", [{"seconds": 0.0}, {"bytes": -1}, {"seconds": float("nan")}])
def test_limits_out_of_range(options):
    with pytest.raises(ConventionError, match=next(iter(options))):
        Limits(**options)


@pytest.mark.slow
def test_errors_of_tasks_are_raised_here():
    with pytest.raises(ZeroDivisionError):
        list(run_in_processes(divide, [1, 0], workers=1))
    with pytest.raises(EquivariantError, match="live until"):
        list(run_tasks(odd, [("die", 0)], workers=2, engine="local"))


def test_start_up_is_the_first_task_less_a_later_one(monkeypatch):
    moments = iter([10.0, 15.0, 16.0, 17.5])  # the start, and three results
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    monkeypatch.setattr(processes, "run_in_processes", lambda f, items, workers: map(f, items))
    assert seconds_to_start(divide, 1) == 5.0 - 1.0


def divide(x):
    return 1 / x


class Odd(MeshSource):
    """Procedural objects, one of which takes for ever and one all memory."""

    def __init__(self):
        self._inner = ProceduralMeshes(instances=4, classes=["chair"], val_fraction=0.5)

    def entries(self):
        return self._inner.entries()

    def load(self, entry):
        if entry.object_id.endswith("1"):
            time.sleep(600)
        if entry.object_id.endswith("2"):
            np.ones(400 << 17)
        return self._inner.load(entry)

    def describe(self):
        return self._inner.describe()


@pytest.mark.exhaustive
def test_objects_that_take_too_much_are_set_aside_by_name(tmp_path):
    limits = Limits(seconds=30.0, bytes=300 << 20)
    report = build(Odd(), tmp_path, config=SMALL, workers=1, limits=limits, progress=False)
    assert report.objects == 2 and verify(tmp_path) == []
    assert report.failed["chair/chair-000001"] == "it took longer than 30 s"
    assert "MemoryError" in report.failed["chair/chair-000002"]


class Loaded:
    """A task of little memory that needs much to be loaded first."""

    def prepare(self):
        global _LOADED
        _LOADED = np.ones(40 << 17)

    def __call__(self, task):
        return task + len(np.ones(1 << 17)) + int(_LOADED[0])


def test_what_every_task_needs_is_not_counted_against_one_of_them():
    limits = Limits(bytes=20 << 20)
    found = run_tasks(Loaded(), [1, 2, 3], workers=1, engine="local", limits=limits)
    assert sorted(found) == [k + (1 << 17) + 1 for k in (1, 2, 3)]


class Unprepared(Loaded):
    def prepare(self):
        raise StorageError(expected="a", got="b", argument="c", advice="d")


def test_what_cannot_be_prepared_is_raised_once():
    with pytest.raises(StorageError, match="expected a, got b"):
        list(run_tasks(Unprepared(), [1, 2, 3], workers=2, engine="local"))


class Large(Odd):
    """Procedural objects, one of which has two million triangles."""

    def load(self, entry):
        mesh = self._inner.load(entry)
        if not entry.object_id.endswith("1"):
            return mesh
        many = 2_000_000 // len(mesh.faces)
        return Mesh(
            vertices=mesh.vertices, faces=np.tile(mesh.faces, (many, 1)),
            corner_normals=np.broadcast_to(mesh.corner_normals[:1], (many * len(mesh.faces), 3, 3)),
            face_colors=np.broadcast_to(mesh.face_colors[:1], (many * len(mesh.faces), 3)),
        )  # fmt: skip


@pytest.mark.exhaustive
def test_a_mesh_too_large_for_its_memory_leaves_the_others(tmp_path):
    """The limit is of an object, not of the renderer: a small one does not end the build."""
    limits = Limits(bytes=60 << 20)
    report = build(Large(), tmp_path, config=SMALL, workers=2, limits=limits, progress=False)
    assert report.objects == 3 and list(report.failed) == ["chair/chair-000001"]


class Absent(Odd):
    """Objects for which no process but the calling one has a renderer."""

    def __init__(self, here):
        super().__init__()
        self._here = here

    def load(self, entry):
        if os.getpid() != self._here:
            raise RendererUnavailableError(expected="a", got="b", argument="c", advice="d")
        return self._inner.load(entry)


def test_a_renderer_that_workers_do_not_have_leaves_no_plan(tmp_path):
    """It would refuse the same folder with another renderer."""
    source = Absent(os.getpid())
    with pytest.raises(RendererUnavailableError, match="expected a, got b"):
        build(source, tmp_path / "a", config=SMALL, workers=2, progress=False)
    other = replace(SMALL, views=SMALL.views + 1)
    assert build(source, tmp_path / "a", config=other, workers=1, progress=False).objects == 4
    shutil.rmtree(tmp_path / "a" / "chair" / "chair-000001")
    with pytest.raises(RendererUnavailableError):  # an older plan stays
        build(source, tmp_path / "a", config=other, workers=2, progress=False)
    assert (tmp_path / "a" / "plan.json").is_file()


class Wary(ViewLaw):
    """A law that refuses meshes of few faces."""

    def scene(self, mesh, latent):
        if len(mesh.faces) < 10:
            raise ValueError("no such mesh")
        return super().scene(mesh, latent)


def test_workers_are_prepared_without_the_law(tmp_path):
    source = ProceduralMeshes(instances=2, classes=["chair"])
    config = replace(SMALL, law=Wary())
    assert build(source, tmp_path, config=config, workers=2, progress=False).objects == 2


@pytest.mark.slow
def test_ctrl_c_with_two_workers_says_one_line(tmp_path):
    out = tmp_path / "out"
    words = ["build", str(out), "--instances", "40", "--size", "64", "--workers", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "equivariant.commands.main", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not list(out.glob("[a-z]*/[a-z]*")):
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
    said = run.communicate(timeout=120)[1]
    assert run.returncode == 130
    assert "Traceback" not in said and "KeyboardInterrupt" not in said
    assert said.strip().splitlines()[-1].startswith("stopped; the same command goes on")
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(run.pid, 0)
            time.sleep(0.05)


class StandIn:
    """Ray's calls as the engine makes them, in this process; errors come when they are told to."""

    def __init__(self, *errors: str) -> None:
        names = ("OutOfMemoryError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError")
        kinds = {name: type(name, (Exception,), {}) for name in ("RayError",)}
        kinds |= {name: type(name, (kinds["RayError"],), {}) for name in names}
        self.exceptions = SimpleNamespace(**kinds)
        self._coming = [kinds[name] for name in errors]
        self.cluster_resources = lambda: {"CPU": 1.0}
        self.is_initialized = lambda: True
        self.put = lambda value: value

    def remote(self, **options):
        assert options == {"max_retries": 0}, "the engine itself says what is tried again"
        return lambda function: SimpleNamespace(remote=lambda *a: Reference((function, a)))

    def wait(self, references):
        return references[:1], references[1:]

    def get(self, reference):
        if self._coming:
            raise self._coming.pop(0)
        function, arguments = reference
        return function(*arguments)


class Reference(tuple):
    """Every task is another one."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


@pytest.mark.parametrize(
    ("errors", "given_up"),
    [
        (["NodeDiedError"] * 8, None),
        (["ObjectLostError", "OutOfMemoryError"], None),
        (["OutOfMemoryError", "WorkerCrashedError"], None),
        (["OutOfMemoryError"] * 8, "ran out of memory"),
    ],
)
def test_what_ray_loses_is_done_again_or_named(monkeypatch, errors, given_up):
    monkeypatch.setitem(sys.modules, "ray", StandIn(*errors))
    tasks = [("square", k) for k in range(6)]
    found = list(run_tasks(odd, tasks, workers=2, engine="ray", chunk=2, lost=set_aside))
    assert len(found) == 6
    if given_up is None:
        assert sorted(found) == [0, 1, 4, 9, 16, 25]
    else:  # three chunks are lost once, and of their tasks five again, alone
        reasons = [answer[1] for answer in found if isinstance(answer, tuple)]
        assert len(reasons) == 5 and all(given_up in reason for reason in reasons)


@pytest.mark.parametrize("error", ["NodeDiedError", "RayError"])
def test_a_cluster_that_is_gone_is_said(monkeypatch, error):
    monkeypatch.setitem(sys.modules, "ray", StandIn(*[error] * 99))
    with pytest.raises(EquivariantError, match="Start the cluster again"):
        list(run_tasks(odd, [("square", 1)], workers=2, engine="ray", lost=set_aside))
