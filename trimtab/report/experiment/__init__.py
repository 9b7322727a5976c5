"""The report of one experiment: a page, Markdown and JSON from an analysis and its spec."""
