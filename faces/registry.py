"""The faces Kilroy knows: name → label, settings form and class, imported on first use. Adding a face touches its
folder and one line here; a face of another package is named by its entry point of the group `kilroy.faces`
(docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
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


class BrokenPackage(Exception):
    """An installed package's entry point is not what Kilroy can use; the message names the package."""


def of_packages(found: Iterable[EntryPoint], taken: Iterable[str]) -> dict[str, FaceKind]:
    """The faces of entry points. Raises BrokenPackage for one that cannot be loaded, is no FaceKind, or has the name of
    another face.
    """
    faces: dict[str, FaceKind] = {}
    for entry in found:
        package = entry.dist.name if entry.dist else entry.value
        try:
            kind = entry.load()
        except Exception as error:  # whatever a stranger's module does while it is imported
            raise BrokenPackage(
                f"The face “{entry.name}” of {package} cannot be loaded ({error}): mend it or uninstall it."
            ) from error
        if not isinstance(kind, FaceKind):
            raise BrokenPackage(f"The face “{entry.name}” of {package} is no faces.registry.FaceKind.")
        if entry.name in faces or entry.name in taken:
            raise BrokenPackage(f"There is a face “{entry.name}” already: {package} must name its own otherwise.")
        faces[entry.name] = kind
    return faces


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
        flow="faces.kinds.mastodon.flow.MastodonFlow",
    ),
    "discord": FaceKind(
        label="Discord",
        description="A bot in a channel of a Discord server.",
        face="faces.kinds.discord.face.DiscordFace",
        form="faces.kinds.discord.forms.DiscordForm",
    ),
    "telegram": FaceKind(
        label="Telegram",
        description="A bot in a Telegram channel or group.",
        face="faces.kinds.telegram.face.TelegramFace",
        form="faces.kinds.telegram.forms.TelegramForm",
    ),
    "x": FaceKind(
        label="X",
        description="An account on X, through a developer app of your own.",
        face="faces.kinds.x.face.XFace",
        form="faces.kinds.x.forms.XForm",
        flow="faces.kinds.x.flow.XFlow",
    ),
    "bluesky": FaceKind(
        label="Bluesky",
        description="An account on Bluesky, or on any other server of its network.",
        face="faces.kinds.bluesky.face.BlueskyFace",
        form="faces.kinds.bluesky.forms.BlueskyForm",
    ),
    "reddit": FaceKind(
        label="Reddit",
        description="An account on Reddit: posts to a subreddit or to its own profile, and comments.",
        face="faces.kinds.reddit.face.RedditFace",
        form="faces.kinds.reddit.forms.RedditForm",
        flow="faces.kinds.reddit.flow.RedditFlow",
    ),
}
FACES |= of_packages(entry_points(group="kilroy.faces"), FACES)
