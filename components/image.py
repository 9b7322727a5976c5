"""The image that components run in; the library is installed in it, so a task starts without pip."""

from importlib.metadata import version

# "python" in the name tells the local runner that its interpreter will do.
IMAGE = f"trimtab/pipeline-python:{version('trimtab')}"
