"""What a model version says about many sessions."""
