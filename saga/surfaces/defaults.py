"""What `saga status` takes unless it is told otherwise. It is apart because its help says so too, and imports nothing else."""

LOOKED_AT = 200_000
"""So many of the latest sagas are counted."""
MAX_DUE_S, MAX_HALTED, MIN_WORKERS = 60.0, 0, 1
"""What `--check` finds fine."""
