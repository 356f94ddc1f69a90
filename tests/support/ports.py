"""Ports for the services of tests.

Each process of the tests has a range of its own, below the ports that a development server chooses for itself. So no
port is taken by another of them while a stack is down, or between the choice of a port and its use.
"""

import os
import socket
from contextlib import suppress
from itertools import cycle

from playhead.temporal.dev_server import LOOPBACK

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_PORTS = cycle(range(10_000 + 1_000 * _WORKER, 11_000 + 1_000 * _WORKER))


def free_port() -> int:
    """An unused port of this machine, each in its turn."""
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.create_server((LOOPBACK, port)):
            return port
