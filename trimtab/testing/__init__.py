"""Contract suites per port, builders and fakes."""
