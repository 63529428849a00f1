"""The faces Kilroy knows: name → label, settings form and class, imported on first use. Adding a face touches its
folder and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django import forms

    from faces.contract import Face


@dataclass(frozen=True)
class FaceKind:
    """One entry: `face` and `form` are dotted paths; the form edits `Connection.settings`. `flow`: dotted path of a
    `faces.oauth.Flow`, where the account's owner allows the connection on the platform's own page.
    """

    label: str
    description: str
    face: str
    form: str
    flow: str = ""

    @property
    def needs_no_account(self) -> bool:
        """Whether a connection can be made without anything being entered."""
        return not getattr(self.load_form(), "secret_fields", ())

    def load(self) -> type[Face]:
        face: type[Face] = import_string(self.face)
        return face

    def load_form(self) -> type[forms.Form]:
        form: type[forms.Form] = import_string(self.form)
        return form


FACES: dict[str, FaceKind] = {
    "sandbox": FaceKind(
        label="Sandbox",
        description="A simulated audience: no account, no keys, nothing leaves this installation.",
        face="faces.kinds.sandbox.face.SandboxFace",
        form="faces.kinds.sandbox.forms.SandboxForm",
    ),
    "mastodon": FaceKind(
        label="Mastodon",
        description="An account on any instance of Mastodon.",
        face="faces.kinds.mastodon.face.MastodonFace",
        form="faces.kinds.mastodon.forms.MastodonForm",
    ),
}
