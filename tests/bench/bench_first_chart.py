"""Seconds from a first `manage.py up` to the first point of a chart of the demo bot; at most 60."""

from __future__ import annotations

import psycopg

from kilroy_site.embedded.postgres import database_url
from tests.bench.installation import installation
from tests.bench.measurement import Measurement

LIMIT = 300.0


def run() -> Measurement:
    """Databases, migrations and demo included; packages installed before."""
    with installation(demo="yes") as running:
        seconds = running.seconds_until(lambda: _charted(database_url(running.var)), LIMIT)
    return Measurement(ours=seconds, goal=60.0, better="lower")


def _charted(url: str) -> bool:
    with psycopg.connect(url) as connection:
        connection.execute("SET app.organization = 'everyone'")
        return connection.execute("SELECT EXISTS (SELECT FROM training_metric)").fetchone() == (True,)
