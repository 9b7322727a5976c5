"""Assignment, inference and verdicts."""
