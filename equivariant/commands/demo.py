"""equivariant demo"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import duration, say
from equivariant.recipes.sie_3diebench.demo import DemoConfig, run_demo


@dataclass(frozen=True)
class Demo:
    """The whole way in minutes: render a data set, train SIE and baselines, measure, one page.

    Procedural objects are rendered with 3DIEBench's factors; a supervised reference, SimCLR,
    SIE, and SIE with an exact action are trained with one budget, and everything is shown on
    one page without scripts. Started again, it goes on where it stopped.

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
        levels = "Flat R² is the published definition; a blind predictor does not score zero in it."
        say(f"One seed ({self.study.seed}), {self.study.steps} steps. {levels}")
        say(f"Page: {result.report}   ({duration(sum(result.seconds.values()))})")
