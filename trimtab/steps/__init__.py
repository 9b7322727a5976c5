"""One module per use case: a frozen Config and `run(config, ports)`."""
