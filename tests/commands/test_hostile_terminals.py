"""Names that speak to the terminal, outputs of few characters, and Ctrl-C while modules load."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets3d.meshes import MeshFolder, MeshWarning
from datasets3d.views.work import reason_of
from equivariant.commands.main import main
from equivariant.commands.terminal import say
from equivariant.errors import EquivariantError, printable

ROOT = Path(__file__).parents[2]
HOSTILE = "a\nerror: all is well\x1b[2J\u202e.off"
SAID = "a\\nerror: all is well\\x1b[2J\\u202e.off"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (HOSTILE, SAID),
        ("\udcff\x7f\u2028", "\\udcff\\x7f\\u2028"),
        ("椅子 über \u0915\u094d\u200d\u0937 🪑", "椅子 über \u0915\u094d\u200d\u0937 🪑"),
    ],
)
def test_control_characters_are_written_out(text, written):
    assert printable(text) == written


def test_errors_and_warnings_are_one_line():
    error = EquivariantError(expected="a", got="b\x1b", argument=HOSTILE, advice="C.\nD")
    assert str(error) == f"{SAID}: expected a, got b\\x1b. C.\nD"
    assert error.argument == HOSTILE
    assert str(MeshWarning("grey", HOSTILE)) == f"{SAID}: grey"


def test_a_build_says_such_names_on_one_line(tmp_path, capsys):
    meshes = tmp_path / "meshes"
    (meshes / "chair").mkdir(parents=True)
    text = "OFF\n4 2 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"
    (meshes / "chair" / "good.off").write_text(text)
    (meshes / "chair" / HOSTILE).write_text("OFF")
    (meshes / ("x" + HOSTILE.replace(".off", ".zip"))).touch()
    source = MeshFolder(meshes)
    (bad,) = (entry for entry in source.entries() if entry.object_id != "good")
    with pytest.raises(EquivariantError) as caught:
        source.load(bad)
    assert reason_of(caught.value, bad).startswith(f"chair/{SAID}: expected")
    words = ["--meshes", str(meshes), "--views", "1", "--size", "16", "--workers", "1"]
    assert main(["build", str(tmp_path / "set"), *words, "--object-seconds", "0"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\u202e" not in out
    lines = out.splitlines()
    assert sum(SAID in line for line in lines) == 1
    assert any(line.startswith("ignored: 1 file or folder: xa\\nerror") for line in lines)


def test_an_output_of_few_characters(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    say("椅 \udcff")
    assert narrow.buffer.getvalue() == b"\\u6905 \\udcff\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("module", ["equivariant", "equivariant.commands.main"])
@pytest.mark.parametrize("slow", ["tyro", "simplejpeg"])  # of the command, of the verb
def test_interrupts_while_modules_load_leave_no_traceback(tmp_path, module, slow):
    begun = tmp_path / "begun"
    swallows = (  # as compiled modules may
        f"import time\nopen({str(begun)!r}, 'w').close()\n"
        "try:\n    time.sleep(60)\nexcept BaseException:\n    raise ImportError('broken')\n"
    )
    (tmp_path / f"{slow}.py").write_text(swallows)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-m", module, "build", str(tmp_path / "set")],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not begun.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, b"", b"\nstopped before anything was done\n")
