"""KFP pipelines: DAGs only, and their compiled IR."""
