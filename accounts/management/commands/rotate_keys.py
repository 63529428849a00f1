"""`manage.py rotate_keys`: seal every stored credential with the first key of KILROY_CREDENTIAL_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.rotation import rotate_keys


class Command(BaseCommand):
    help = (
        "Seal every stored credential with the first key of KILROY_CREDENTIAL_KEYS. Safe while posts are published; "
        "when it was broken off, run it again. Old keys may go once it says that nothing is left."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = rotate_keys(self.stdout.write)
        for words in done.unopened:
            self.stderr.write(words)
        self.stdout.write(f"{done.resealed} sealed anew, {done.current} under the first key already.")
        if done.unopened:
            raise CommandError(f"{len(done.unopened)} could not be opened and were left as they are.")
        self.stdout.write("No other key is needed any more.")
