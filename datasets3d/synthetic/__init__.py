"""Tasks made from formulas, with symmetries that are known."""

from datasets3d.synthetic.symmetry_tasks import (
    SymmetryTask,
    cosine_task,
    distance_task,
    inertia_task,
)

__all__ = ["SymmetryTask", "cosine_task", "distance_task", "inertia_task"]
