"""How fast pictures are, where the time goes, and how like Blender's they are."""
