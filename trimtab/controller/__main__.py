"""`python -m trimtab.controller`: parse, elect, run."""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from trimtab import runtime
from trimtab.controller.handlers import handlers
from trimtab.controller.health import Pulse, health_endpoint
from trimtab.controller.leader import await_lead, leading
from trimtab.controller.metrics import Standings
from trimtab.controller.operator import RolloutPorts, operate
from trimtab.errors import TrimtabError

_LOG = logging.getLogger("trimtab.controller")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the controller.

    Args:
        arguments: Command line; the process's own where absent.

    Returns:
        The exit code: 0 where it was told to stop, 1 where it lost the lease, otherwise that of the error.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pulse, standings = Pulse(), Standings()
    try:
        with health_endpoint(pulse, standings.exposition, host=options.health_host, port=options.health_port):
            return _run(options, stop, pulse, standings)
    except TrimtabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _run(options: argparse.Namespace, stop: threading.Event, pulse: Pulse, standings: Standings) -> int:
    in_config_map = (options.namespace, options.routes) if options.routes else None
    ports = runtime.load(options.profile, routes_in_config_map=in_config_map)
    resources = ports.experiments(options.namespace)
    resources.list()  # fails at once without the cluster, the definition or the rights
    registry = handlers(
        RolloutPorts(ports), resources, ports.cluster_login, every_seconds=options.every, standings=standings
    )
    if not options.lease:
        operate(registry, namespace=options.namespace, stop=stop, pulse=pulse)
        return 0
    holder = f"{os.environ.get('POD_NAME') or socket.gethostname()}-{os.getpid()}"
    lease = ports.lease(options.lease, namespace=options.namespace, holder=holder)
    if not await_lead(lease, stop=stop):
        return 0
    _LOG.info("%s leads.", holder)
    lost = threading.Event()

    def end() -> None:
        lost.set()
        stop.set()

    with leading(lease, lost=end):
        operate(registry, namespace=options.namespace, stop=stop, pulse=pulse)
    return 1 if lost.is_set() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trimtab.controller", description="Controller of ModelExperiments.")
    parser.add_argument("--namespace", required=True, help="Namespace of the experiments and of the routes.")
    parser.add_argument("--profile", default="cluster", help="A shipped profile, or a YAML file.")
    parser.add_argument(
        "--routes", default="trimtab-routes", help="ConfigMap that the routers mount; empty for the profile's routes."
    )
    parser.add_argument("--lease", default="", help="Lease by which a leader is elected; empty for a single pod.")
    parser.add_argument("--every", type=float, default=15.0, help="Seconds between two looks at an experiment.")
    parser.add_argument("--health-host", default="0.0.0.0", help="Address to answer at.")  # noqa: S104 - of the pod
    parser.add_argument("--health-port", type=int, default=8081, help="Port of /healthz and /metrics.")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
