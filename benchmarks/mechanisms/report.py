"""Records of experiments as one Markdown table."""

from __future__ import annotations

from typing import Any

HEAD = (
    "mechanism",
    "number",
    "planted: baseline",
    "mechanism",
    "gain",
    "control: gain",
    "verdict",
)


def table(records: dict[str, dict[str, Any]]) -> str:
    """One row per experiment: mean ± standard deviation of the arms, gain ± standard error.

    Args:
        records: Name to record, as written to JSON.
    """
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for record in records.values():
        planted, control = (record["conditions"][name] for name in ("planted", "control"))
        arms = [planted["arms"][arm][record["metric"]] for arm in ("baseline", "mechanism")]
        arrow = "↑" if record["higher_is_better"] else "↓"
        cells = [
            record["title"],
            f"{record['metric']} {arrow}",
            *(_cell(arm["mean"], arm["std"]) for arm in arms),
            *(
                _cell(d["mean"], d["standard_error"])
                for d in (planted["difference"], control["difference"])
            ),
            record["verdict"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(mean: float, spread: float | None) -> str:
    return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"
