"""Experiments of papers, one file or folder each, and the list of all of them by name.

A new recipe is a module with an object ``RECIPE`` (see ``equivariant.workflows.recipe``) and a
line here. Nothing is imported before it is asked for: ``RECIPES["sie"].load()``.
"""

from equivariant.workflows.registry import RecipeEntry, RecipeRegistry

RECIPES = RecipeRegistry(
    [
        RecipeEntry(
            "sie",
            "SIE or one of its baselines, trained on pairs of rendered views.",
            "equivariant.recipes.sie_3diebench.recipe",
            older_setting="size_px",
        ),
        RecipeEntry(
            "force-field",
            "A force field, trained on molecules with energies and forces.",
            "equivariant.recipes.force_field.recipe",
            older_setting="energy_weight",
        ),
        RecipeEntry(
            "lie",
            "Digits under affine maps: a network on a linear group, or a plain one, on MNIST.",
            "equivariant.recipes.lie_affnist.recipe",
        ),
        RecipeEntry(
            "soft",
            "A task whose symmetry is partly broken, learned exactly, freely, or softly.",
            "equivariant.recipes.soft_symmetries.recipe",
        ),
        RecipeEntry(
            "apen",
            "Parts of moving bodies: a network on predicted parts, taught on recorded motions.",
            "equivariant.recipes.apen_parts.recipe",
        ),
    ]
)

__all__ = ["RECIPES"]
