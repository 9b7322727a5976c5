"""Each unit's latest history, to the online store."""
