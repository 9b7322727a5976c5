"""Sessions: what they hold (spec), whether they are fit for use (validation), and what exactly was used (snapshots)."""
