"""Memory of the web process after it has answered, in MB; at most 200."""

from __future__ import annotations

import urllib.request

import psutil

from kilroy_site.supervisor import state
from tests.bench.installation import installation
from tests.bench.measurement import Measurement


def run() -> Measurement:
    """Resident memory, after the sign-in page has been rendered."""
    with installation(demo="no") as running:
        written = state.read(running.var)
        assert written is not None
        with urllib.request.urlopen(written.address, timeout=30) as response:
            assert response.status == 200
        pid = next(process.pid for process in written.processes if process.name == "web")
        memory = psutil.Process(pid).memory_info().rss / 1e6
    return Measurement(ours=memory, goal=200.0, better="lower")
