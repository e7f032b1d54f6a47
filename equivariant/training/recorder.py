"""Metrics of a run: one JSON object per line, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from equivariant.errors import MissingExtraError
from equivariant.runs import write_atomically


class Recorder:
    """Appends metrics to a file.

    Args:
        path: The file, ``metrics.jsonl``.
        start: Step the run starts or goes on from; later lines of an interrupted run are dropped.
        tensorboard: Folder for TensorBoard's event files; None writes none.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> Recorder(path).record(1, {"total": 0.5})
        >>> path.read_text()
        '{"step": 1, "total": 0.5}\\n'
    """

    def __init__(self, path: Path, *, start: int = 0, tensorboard: Path | None = None) -> None:
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= start]
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._writer = None if tensorboard is None else _summary_writer(tensorboard)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Append one line; not-a-number and infinities are written as strings."""
        line: dict[str, Any] = {"step": step}
        line.update({k: v if abs(v) < float("inf") else str(v) for k, v in values.items()})
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics file as dicts; a last line that was cut short is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", extra="tensorboard") from error
    return SummaryWriter(str(folder))
