"""Whether new sessions differ from a snapshot."""
