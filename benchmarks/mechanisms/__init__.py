"""Loss mechanisms put to the proof on planted structure in 3D data.

    python -m benchmarks.mechanisms                       # all of them, five seeds
    python -m benchmarks.mechanisms symile gap --seeds 5 --out /tmp/mechanisms.json

Each experiment has a baseline and a mechanism that differ in the objective alone, data with a
structure that the mechanism must find, and a negative control in which that structure is absent
and the mechanism must not help.
"""
