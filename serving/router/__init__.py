"""One endpoint per model: users pinned to arms, exposures logged, no request lost."""
