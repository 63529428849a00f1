"""A platform for tests, with answers written beforehand, and a face to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from faces.contract import Capabilities, Face, FaceError, OutgoingPost, Published, Reading, RemotePost, Verification


@dataclass
class FakePlatform:
    """A platform whose answers a test writes beforehand: each publish raises one of `answers` until none is left."""

    answers: list[Exception] = field(default_factory=list)
    found: Published | Exception | None = None
    readings: dict[str, Reading | None] | Exception = field(default_factory=dict)
    published: list[tuple[OutgoingPost, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    finds: int = 0
    posts: list[RemotePost] = field(default_factory=list)
    inbox: list[RemotePost] = field(default_factory=list)
    on_publish: Any = None


def fake_face(platform: FakePlatform, **can: Any) -> type[Face]:
    """A face to that platform; keyword arguments are its capabilities."""

    class FakeFace(Face):
        capabilities = Capabilities(**{"max_length": 280, "counts_by": "characters", "metrics": ("likes",)} | can)

        def verify(self) -> Verification:
            return Verification("fake")

        def publish(self, post: OutgoingPost, key: str) -> Published:
            platform.published.append((post, key))
            if platform.on_publish is not None:
                platform.on_publish(post, key)
            if platform.answers:
                raise platform.answers.pop(0)
            number = len(platform.published)
            return Published(f"fake-{number}", f"https://fake.example/{number}", timezone.now())

        def find(self, key: str, post: OutgoingPost, since: datetime) -> list[Published]:
            platform.finds += 1
            if isinstance(platform.found, Exception):
                raise platform.found
            return [] if platform.found is None else [platform.found]

        def delete(self, remote_id: str) -> None:
            if platform.answers:
                raise platform.answers.pop(0)
            platform.deleted.append(remote_id)

        def metrics(self, remote_ids: Any) -> dict[str, Reading | None]:
            if isinstance(platform.readings, FaceError):
                raise platform.readings
            assert isinstance(platform.readings, dict)
            return {remote_id: platform.readings.get(remote_id) for remote_id in remote_ids}

        def history(self, since: datetime | None, account: str = "") -> list[RemotePost]:
            return [post for post in platform.posts if since is None or post.at >= since]

        def inbox(self, since: datetime | None, community: str = "") -> list[RemotePost]:
            return [post for post in platform.inbox if since is None or post.at >= since]

        def look_up(self, remote_id: str) -> RemotePost | None:
            return next((post for post in platform.inbox if post.remote_id == remote_id), None)

    return FakeFace


@dataclass(frozen=True)
class StubKind:
    """An entry of the registry of faces for a class that is at hand."""

    face: type[Face]
    label: str = "Fake"
    description: str = "A platform for tests."
    flow: str = ""
    needs_no_account: bool = False

    def load(self) -> type[Face]:
        return self.face

    def load_form(self) -> type[forms.Form]:
        return forms.Form
