"""A network between a browser and the site that can be cut, and mended again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Cable:
    """Carries every connection to the site until it is cut: then all of them break, and new ones are refused."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._site = (str(parts.hostname), int(parts.port or 80))
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = self._listen(0)
        self.address = f"http://localhost:{self.port}"

    def cut(self) -> None:
        listener, self._listener = self._listener, None
        ends, self._ends = self._ends, []
        for end in (listener, *ends):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def mend(self) -> None:
        self._listen(self.port)

    def _listen(self, port: int) -> int:
        """Returns the port, for 0 one that was free."""
        listener = self._listener = socket.create_server(("localhost", port))
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was cut
            while True:
                browser, _ = listener.accept()
                site = socket.create_connection(self._site)
                self._ends += [browser, site]
                for pair in ((browser, site), (site, browser)):
                    threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # either end went away
        while block := source.recv(65_536):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def cable(address: str) -> Iterator[Cable]:
    """A cable to the site, plugged in."""
    found = Cable(address)
    try:
        yield found
    finally:
        found.cut()
