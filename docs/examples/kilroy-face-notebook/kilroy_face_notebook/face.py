"""The seven verbs for a file that holds one JSON object a line: {"key", "text", "at", "likes"}."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from accounts import clock
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    OutgoingPost,
    Published,
    Reading,
    RemotePost,
    Verification,
)


class NotebookFace(Face):
    """A post's id is its key, so that publishing twice with one key leaves one line: idempotency "key", for ever."""

    capabilities = Capabilities(
        max_length=500,
        counts_by="characters",
        metrics=("likes",),
        reads=frozenset({"history"}),
        idempotency="key",
        may_learn=True,
    )

    def verify(self) -> Verification:
        folder = self._path.parent
        missing = () if folder.is_dir() else (f"There is no folder {folder}: make it, or choose another file.",)
        return Verification(self._path.name, missing)

    def publish(self, post: OutgoingPost, key: str) -> Published:
        with self._opened() as file:
            line = next((line for line in _lines(file) if line["key"] == key), None)
            if line is None:
                line = {"key": key, "text": post.text, "at": clock.now().isoformat(), "likes": 0}
                file.write(json.dumps(line) + "\n")
        return _published(line)

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        with self._opened() as file:
            return [_published(line) for line in _lines(file) if line["key"] == key]

    def delete(self, remote_id: str) -> None:
        with self._opened() as file:
            kept = [line for line in _lines(file) if line["key"] != remote_id]
            file.seek(0)
            file.truncate()
            file.writelines(json.dumps(line) + "\n" for line in kept)

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        with self._opened() as file:
            likes = {line["key"]: Reading({"likes": line["likes"]}) for line in _lines(file)}
        return {remote_id: likes.get(remote_id) for remote_id in remote_ids}

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        with self._opened() as file:
            posts = [
                RemotePost(line["key"], line["text"], datetime.fromisoformat(line["at"]), metrics={"likes": 0})
                for line in _lines(file)
            ]
        return [post for post in posts if since is None or post.at >= since]

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        """Nobody writes to a notebook."""
        return ()

    @property
    def _path(self) -> Path:
        return Path(self.connection.settings["path"])

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        """The file, for one process at a time. Nothing was sent when it cannot be opened, and it may help to wait."""
        try:
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise FaceError(f"The notebook cannot be opened: {error.strerror}.", permanent=False) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _lines(file: TextIO) -> list[dict[str, Any]]:
    file.seek(0)
    return [json.loads(line) for line in file]


def _published(line: dict[str, Any]) -> Published:
    return Published(line["key"], "", datetime.fromisoformat(line["at"]))
