"""Event files where TensorBoard is installed, an error that names the extra where it is not."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from equivariant.errors import MissingExtraError
from equivariant.training.recorder import Recorder

INSTALLED = importlib.util.find_spec("tensorboard") is not None


@pytest.mark.skipif(not INSTALLED, reason="needs the extra tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_writes_what_it_records(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "metrics.jsonl", tensorboard=tmp_path / "events")
    recorder.record(1, {"total": 0.5})
    recorder.record(2, {"total": 0.25})
    recorder._writer.close()
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("total")] == [
        (1, 0.5),
        (2, 0.25),
    ]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "total": 0.5}, {"step": 2, "total": 0.25}]


def test_names_the_extra_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"equivariant\[tensorboard\]"):
        Recorder(tmp_path / "metrics.jsonl", tensorboard=tmp_path / "events")
