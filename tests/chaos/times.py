"""The protocol's waits, all divided by one number, so that a campaign takes minutes instead of hours.

Their order, on which the protocol rests, stays and is checked by every worker as it starts
(`bots.services.delivery.check_times`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any


def divide(factor: float) -> None:
    """Divide what a request, the deadman, a lease and the looks for an unknown outcome take, how long a doorbell can be
    heard, what platforms limit calls by, and for how long they remember a key.
    """
    from accounts import doorbell
    from bots import deadman
    from bots.services import delivery, recovery, restored, steps
    from faces import http
    from faces.kinds.mastodon import face as mastodon
    from faces.kinds.reddit import one_request, tokens
    from faces.kinds.x import face as x
    from faces.registry import FACES

    limits = ("CONNECT_SECONDS", "READ_SECONDS", "TOTAL_SECONDS")
    waits: list[tuple[Any, tuple[str, ...]]] = [
        (http, limits),
        (one_request, limits),
        (tokens, ("TOKEN_SECONDS",)),
        (mastodon, ("PROCESSING_SECONDS",)),
        (x, ("PREPARING_SECONDS",)),
        (doorbell, ("EXPIRES",)),
        (deadman, ("SECONDS",)),
        (delivery, ("LEASE", "HELD")),
        (steps, ("QUIESCENCE",)),
        (recovery, ("LEASE", "QUIESCENCE", "BETWEEN_LOOKS")),
        (restored, ("QUIESCENCE",)),
    ]
    for module, names in waits:
        for name in names:
            setattr(module, name, getattr(module, name) / factor)
    defaults: Any = one_request.OneRequest.__init__.__kwdefaults__
    defaults["seconds"] /= factor
    for kind in FACES.values():
        face = kind.load()
        face.capabilities = replace(
            face.capabilities,
            key_window=face.capabilities.key_window / factor,
            limits=tuple(_divided(limit, factor) for limit in face.capabilities.limits),
        )


def _divided(limit: Any, factor: float) -> Any:
    return replace(limit, seconds=max(1, round(limit.seconds / factor)))


def told(factor: float) -> str:
    """The waits as they are after `divide`, for the campaign's output."""
    from bots import deadman
    from bots.services import delivery, recovery, steps
    from faces import http

    waits = {
        "request": timedelta(seconds=http.TOTAL_SECONDS),
        "deadman": timedelta(seconds=deadman.SECONDS),
        "lease": delivery.LEASE,
        "quiescence": steps.QUIESCENCE,
        "between looks": recovery.BETWEEN_LOOKS,
    }
    listed = ", ".join(f"{name} {wait.total_seconds():.1f} s" for name, wait in waits.items())
    return f"the protocol's waits are divided by {factor:g}: {listed}"
