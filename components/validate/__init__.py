"""Sessions to a validated snapshot."""
