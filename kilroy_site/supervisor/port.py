"""Whether the web process will be able to listen."""

from __future__ import annotations

import errno
import socket


class PortError(Exception):
    """The address cannot be listened on; the message says why and what to do."""


def check(host: str, port: int) -> None:
    """Listen for a moment, as the web process will. Raises PortError when that cannot be done."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            listener.bind(address)
            listener.listen()
    except OSError as error:
        raise PortError(_explain(host, port, error)) from None


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else 8001
        return f"Port {port} on {host} is taken by another program: choose another, for example `make up PORT={other}`."
    if error.errno == errno.EACCES:
        return f"Port {port} needs root's rights: choose one above 1023, for example `make up PORT=8000`."
    return f"HOST={host} PORT={port} cannot be listened on ({error.strerror}): name an address of this machine."
