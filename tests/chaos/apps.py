"""What the campaign changes in every process of its installation."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings

FROZEN = "frozen.log"


class ChaosConfig(AppConfig):
    name = "tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        from tests.chaos import times

        times.divide(settings.CHAOS_FACTOR)
        if settings.CHAOS_FREEZE:
            _freeze_before_sending(settings.CHAOS_FREEZE)


def _freeze_before_sending(chance: float) -> None:
    """Let a publisher stop itself, now and then, in the moment that matters: the intent is committed, nothing is sent.
    Whoever runs the campaign wakes it.
    """
    from bots.services import delivery

    killing = delivery.point

    def point(name: str) -> None:
        killing(name)
        if name == "before_send" and random.random() < chance:
            with Path(settings.VAR, FROZEN).open("a") as file:
                file.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGSTOP)

    delivery.point = point
