"""What the operator's panel shows of queues and processes."""

from __future__ import annotations

import redis
from django.conf import settings

from bots.operator.jobs import Row, Section, table
from kilroy_site.supervisor import state
from kilroy_site.supervisor.heartbeat import heartbeat_path, is_fresh

QUEUES = {"io": "publishing, reading, files", "gpu": "training and texts"}
BEATING = ("io", "training", "beat")
LONG = 200
"""More messages than this, and the workers do not keep up."""
PATIENCE = 1.0


def queues() -> Section:
    """How many messages wait in each queue of the broker."""
    title, columns = "Queues", ("Queue", "For", "Messages that wait")
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE
        ) as broker:
            lengths = {name: int(broker.llen(name)) for name in QUEUES}
    except redis.RedisError as error:
        return Section(title, columns, [Row(("–", f"Redis does not answer: {error}", "–"), wrong=True)], "")
    rows = [Row((name, words, lengths[name]), wrong=lengths[name] > LONG) for name, words in QUEUES.items()]
    return Section(title, columns, rows, "")


def processes() -> Section:
    """The processes that this machine's supervisor started, and whether they show signs of life."""
    running = state.read(settings.VAR)
    rows = []
    for process in running.processes if running else ():
        alive = process.alive()
        if alive and process.name in BEATING:
            alive = is_fresh(heartbeat_path(settings.VAR, process.name), process.pid)
        rows.append(Row((process.name, process.pid, "works" if alive else "no sign of life"), wrong=not alive))
    empty = "No supervisor runs on this machine: its processes were started in another way."
    return table("Processes", ("Process", "Number", "State"), rows, empty)
