"""Runs the real supervisor over stand-ins for the applications: `fake_installation.py <var> <port> <behaviour of io>`.

The embedded Redis is the real one; the database is only an address. The web stand-in answers every page.
"""

from __future__ import annotations

import sys

from kilroy_site.config import Config, load
from kilroy_site.supervisor import children
from kilroy_site.supervisor.children import Program
from kilroy_site.supervisor.supervisor import Supervisor, SupervisorError

WEB = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SLEEP = "import time; time.sleep(600)"
BEHAVIOURS = {
    "sleep": SLEEP,
    "die": "import sys, time; time.sleep(1); print('the reason'); sys.exit(3)",
    "stubborn": "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    "parent": f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); time.sleep(600)",
}


def main(var: str, port: str, behaviour: str) -> int:
    environment = {"KILROY_VAR": var, "PORT": port, "DATABASE_URL": "postgresql://kilroy:secret@127.0.0.1/kilroy"}

    def programs(config: Config) -> list[Program]:
        return [
            Program("web", "web process", (sys.executable, "-c", WEB, str(config.port))),
            Program("io", "io worker", (sys.executable, "-c", BEHAVIOURS[behaviour])),
        ]

    children.programs = programs
    supervisor = Supervisor(
        load(environment), prepare=lambda: None, seed=lambda: None, announce=lambda: print("ready", flush=True)
    )
    try:
        supervisor.run()
    except SupervisorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
