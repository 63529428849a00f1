"""A storage without paths, as an object store is."""

from __future__ import annotations

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage


class RemoteStorage(Storage):
    """Keeps its files in memory; what is not there has neither folder nor error, only nothing."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def _open(self, name: str, mode: str = "rb") -> File:
        return ContentFile(self._files[name], name)

    def _save(self, name: str, content: File) -> str:
        self._files[name] = content.read()
        return name

    def exists(self, name: str) -> bool:
        return name in self._files

    def delete(self, name: str) -> None:
        self._files.pop(name, None)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return [], [name.removeprefix(f"{path}/") for name in self._files if name.startswith(f"{path}/")]
