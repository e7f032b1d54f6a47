"""How inputs and outputs move: tensors, nested tensors, graphs, and modules that declare it."""
