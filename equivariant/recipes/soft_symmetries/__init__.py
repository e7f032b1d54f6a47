"""Tasks with symmetries that hold in part, learned exactly, freely and softly."""
