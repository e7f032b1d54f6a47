"""equivariant demo"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import duration, say
from equivariant.recipes.sie_3diebench.demo import SMOKE_STEPS, DemoConfig, run_demo, smoke_study

_LEVELS = "Flat R² is the published definition; a blind predictor does not score zero in it."
_SMOKE = "This was a smoke test: everything works, and the numbers mean nothing."


@dataclass(frozen=True)
class Demo:
    """The whole way in minutes: render a data set, train SIE and baselines, measure, one page.

    Procedural objects are rendered with 3DIEBench's factors; a supervised reference, SimCLR,
    SIE, and SIE with an exact action are trained with one budget, and everything is shown on
    one page without scripts. Started again, it goes on where it stopped.

    To see whether everything works here, in seconds:

        equivariant demo --steps 5

    With fewer than 50 steps the other sizes are tiny too, unless you give them, and the folder is
    runs/demo-smoke.

    Args:
        out: Folder for the data set, the runs and the page.
        study: Sizes and budget.
        quiet: Show no progress bars.
    """

    out: Path = Path("runs/demo")
    study: Annotated[DemoConfig, tyro.conf.arg(name="")] = field(default_factory=DemoConfig)
    quiet: bool = False

    def __call__(self) -> None:
        result = run_demo(self.out, self.study, say=say, progress=not self.quiet)
        say()
        say(result.table.text())
        say()
        last = _SMOKE if self.study.steps < SMOKE_STEPS else _LEVELS
        say(f"One seed ({self.study.seed}), {self.study.steps} steps. {last}")
        say(f"Page: {result.report}   ({duration(sum(result.seconds.values()))})")


def demo(words: Sequence[str]) -> Callable[[], None]:
    """The whole way in minutes: render a data set, train SIE and baselines, measure, one page.

    Args:
        words: After ``equivariant demo``. Where they ask for few steps they are read again with a
            tiny study for defaults, so that what else they say holds.
    """
    command = tyro.cli(Demo, prog="equivariant demo", args=list(words))
    if command.study.steps >= SMOKE_STEPS:
        return command
    smoke = Demo(out=Path("runs/demo-smoke"), study=smoke_study(command.study.steps))
    return tyro.cli(Demo, prog="equivariant demo", args=list(words), default=smoke)
