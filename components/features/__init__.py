"""Each unit's history, point in time."""
