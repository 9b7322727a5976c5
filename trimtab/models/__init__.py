"""Networks, baselines, fitting, tuning, evaluation and calibration of conversion models."""
