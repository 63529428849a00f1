"""Secrets that an installation draws for itself, once, and keeps in its data folder: local installations only."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET_KEY_LENGTH = 50
CREDENTIAL_KEY_BYTES = 32


@dataclass(frozen=True)
class DrawnSecret:
    """`variable` gives it from outside, `file` keeps it otherwise; `needed` says in words what is needed."""

    variable: str
    file: str
    needed: str
    draw: Callable[[], str]
    is_usable: Callable[[str], bool]

    def read_or_draw(self, folder: Path) -> str:
        """The secret kept in `folder`, drawn first when there is none. Raises OSError, and ValueError for a file that
        holds no usable key.

        Written aside and linked into place, so that two processes starting at once agree on one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file
        if not path.exists():
            aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(self.draw())
            try:
                os.link(aside, path)
            except FileExistsError:
                pass
            finally:
                aside.unlink()
        kept = path.read_text().strip()
        if not self.is_usable(kept):
            raise ValueError(f"{path} holds no usable key: delete the file to have a new one drawn.")
        return kept


def _draw_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(CREDENTIAL_KEY_BYTES)).decode().rstrip("=")


SECRET_KEY = DrawnSecret(
    "KILROY_SECRET_KEY",
    "secret_key",
    f"at least {SECRET_KEY_LENGTH} random characters",
    lambda: secrets.token_urlsafe(SECRET_KEY_LENGTH),
    lambda kept: len(kept) >= SECRET_KEY_LENGTH,
)
CREDENTIAL_KEY = DrawnSecret(
    "KILROY_CREDENTIAL_KEYS",
    "credential_key",
    "a name, a colon and 32 random bytes in base64",
    _draw_key,
    lambda kept: len(kept) == len(_draw_key()),
)
