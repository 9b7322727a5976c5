"""KServe servers."""
