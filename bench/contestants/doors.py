"""A door on a loopback socket: the way in to a contestant's process."""

from __future__ import annotations

import socket
import time

from bench.contestants.processes import Processes

READY_S = 60.0


def opened(port: int, processes: Processes) -> socket.socket:
    """Connected, as soon as the process listens. Raises: TimeoutError; RuntimeError if a process ended instead."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            door = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            processes.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens on port {port}: {processes.tails()}") from None
            time.sleep(0.05)
        else:
            door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return door
