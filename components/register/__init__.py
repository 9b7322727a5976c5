"""A trained model to a version, with an alias where it passes the gate."""
