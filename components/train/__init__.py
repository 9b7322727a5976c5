"""The model, fitted with the study's best parameters."""
