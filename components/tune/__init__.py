"""One worker of a shared tuning study."""
