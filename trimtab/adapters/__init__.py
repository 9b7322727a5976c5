"""One module per technology: third-party errors are translated here."""
