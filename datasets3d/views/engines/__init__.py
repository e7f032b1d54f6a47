"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster."""

from datasets3d.views.engines.limits import Limits
from datasets3d.views.engines.tasks import Engine, check_workers, run_tasks

__all__ = ["Engine", "Limits", "check_workers", "run_tasks"]
