"""How connections travel with an organization: without their credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError

from accounts.export_archive import listed
from accounts.exports import Folder, ImportRefused, Passage, Treatment, register
from accounts.portability import IMPORTED
from faces.kinds.sandbox.models import image_name
from faces.models import Connection
from faces.registry import FACES

_SHA256 = re.compile(r"[0-9a-f]{64}")
SANDBOX = "sandbox"


def register_models() -> None:
    register(
        "faces.Connection",
        treatment=Treatment(
            never=frozenset({"credentials"}),
            folder=Folder(_images, _place_image),
            check_file=_check_image,
            arrive=_connection,
        ),
    )
    register("faces.Authorization", treatment=Treatment(stays="Connections in the making, with their secrets."))
    register("faces.Usage", "faces.BilledRead", "faces.SandboxWorld")
    register("faces.SandboxPost", treatment=Treatment(arrive=_sandbox_post))


def _images(connection: Connection) -> Iterable[tuple[str, str]]:
    return listed(image_name(connection.pk, "").rstrip("/")) if connection.kind == SANDBOX else ()


def _place_image(connection: Connection, name: str) -> str:
    if connection.kind != SANDBOX or not _SHA256.fullmatch(name):
        raise ImportRefused("The archive has a file of a connection that no connection has.")
    return image_name(connection.pk, name)


def _check_image(connection: Connection, name: str, file: BinaryIO, sha256: str) -> None:
    if sha256 != name:
        raise ImportRefused("The archive has an image of the sandbox under another image's name.")


def _connection(row: Connection, passage: Passage) -> None:
    """Of the settings what the face's own form takes; what a platform once told is asked for again."""
    if row.kind not in FACES:
        raise ImportRefused(
            f"The archive has a connection to “{row.kind}”, which this installation does not know: install its face."
        )
    form = FACES[row.kind].load_form()
    hidden, told = getattr(form, "secret_fields", ()), row.settings if isinstance(row.settings, dict) else {}
    try:
        row.settings = {
            name: field.clean(told[name])
            for name, field in form.base_fields.items()
            if name in told and name not in hidden
        }
    except ValidationError as error:
        raise ImportRefused(f"The archive's connection “{row.name}” has a wrong setting: {error.messages[0]}") from None
    if row.kind != SANDBOX:
        row.state, row.problem = Connection.State.BROKEN, f"{IMPORTED}, without its credentials: connect it again."


def _sandbox_post(row: Any, passage: Passage) -> None:
    from faces.kinds.sandbox.face import MEDIA_TYPES  # it loads the simulated audience, which not every process needs

    row.key = passage.key(row.key)
    images = row.images if isinstance(row.images, list) else [None]
    for image in images:
        if (
            not isinstance(image, dict)
            or image.get("media_type") not in MEDIA_TYPES
            or not _SHA256.fullmatch(str(image.get("sha256")))
            or not isinstance(image.get("alt_text"), str)
        ):
            raise ImportRefused("The archive has a post of the sandbox with something that is no image.")
