"""Drift, decay and the retraining policy, as plain values."""
