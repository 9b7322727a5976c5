"""From moments to a verdict: everything that is said about one experiment, as plain values."""
