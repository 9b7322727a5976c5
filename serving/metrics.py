"""Which metrics a server shows: its own, or those of all workers.

`prometheus_client` decides when it is first imported how values are kept: in memory, or in files that the workers of
one server share. The variable that tells it so may be set later by somebody else (Feast does, as it is imported); that
moves no value, so it must not move the reader either.
"""

import os

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SHARED_IN = os.environ.get(MULTIPROCESS_FOLDER) if values.ValueClass is not values.MutexValue else None


def shown(own: CollectorRegistry = REGISTRY) -> CollectorRegistry:
    """The registry to expose: one over the files of all workers where they share some, or else the process's own.

    Args:
        own: Registry of this process.
    """
    if not _SHARED_IN:
        return own
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone, path=_SHARED_IN)
    return everyone
