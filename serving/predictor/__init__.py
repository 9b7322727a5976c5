"""A KServe model server for one registered version."""
