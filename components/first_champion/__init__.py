"""A simple first champion, where the model has none."""
