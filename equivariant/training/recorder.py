"""Metrics of a run: one JSON object per line, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from equivariant.errors import MissingExtraError
from equivariant.runs import append_line, write_atomically


class Recorder:
    """Appends metrics to a file.

    Args:
        path: The file, ``metrics.jsonl``.
        start: Step the run starts or goes on from; later lines of an interrupted run are dropped,
            and TensorBoard is told to forget its later events.
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
        self._writer = None if tensorboard is None else _summary_writer(tensorboard, start)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Append one line; not-a-number and infinities are written as strings.

        Raises:
            StorageError: The disk is full.
        """
        line: dict[str, Any] = {"step": step}
        line.update({k: v if abs(v) < float("inf") else str(v) for k, v in values.items()})
        append_line(self.path, json.dumps(line))
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics file as dicts; a last line that was cut short is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _summary_writer(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", extra="tensorboard") from error
    return SummaryWriter(str(folder), purge_step=start + 1)
