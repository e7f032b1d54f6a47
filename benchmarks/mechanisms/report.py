"""Records of experiments as one Markdown table."""

from __future__ import annotations

from typing import Any

from benchmarks.mechanisms.registry import EXPERIMENTS

HEAD = (
    "mechanism",
    "number",
    "planted: baseline",
    "mechanism",
    "gain",
    "control: gain",
    "verdict",
)


Record = dict[str, Any]


def table(records: dict[str, Record], first_trials: dict[str, Record] | None = None) -> str:
    """One row per trial: mean ± standard deviation of the arms, gain ± standard error.

    Args:
        records: Name to record, as written to JSON; rows stand in the order of the registry.
        first_trials: The same for experiments whose design was changed; rows follow their second.
    """
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    names = sorted(records, key=lambda name: [*EXPERIMENTS, name].index(name))
    first = first_trials or {}
    trials = [
        (held[name], ", first trial" if held is first else ", second trial" * (name in first))
        for name in names
        for held in (records, first)
        if name in held
    ]
    for record, note in trials:
        planted, control = (record["conditions"][name] for name in ("planted", "control"))
        arms = [planted["arms"][arm][record["metric"]] for arm in ("baseline", "mechanism")]
        arrow = "↑" if record["higher_is_better"] else "↓"
        cells = [
            record["title"] + note,
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
