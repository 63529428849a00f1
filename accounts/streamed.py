"""Answers that are too long for memory: downloads made block by block, under ASGI as under WSGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer

from accounts.tenancy import active, tenant

BATCH = 1000


class Streamed(StreamingHttpResponse):
    """A response over a plain iterator of bytes. Under ASGI Django would first put all of it into a list; here each
    block is asked for when the one before has been sent, in the request's own thread.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        blocks = cast(Iterator[bytes], self.streaming_content)
        following: Callable[[], bytes | None] = lambda: next(blocks, None)  # noqa: E731 - StopIteration cannot cross threads
        while (block := await sync_to_async(following)()) is not None:
            yield block


def download(blocks: Iterator[bytes], name: str, media_type: str, *, size: int | None = None) -> Streamed:
    """A file to be kept under this name; `size` in bytes where it is known."""
    answer = Streamed(blocks, content_type=media_type)
    answer["Content-Disposition"] = f'attachment; filename="{_plain(name)}"'
    answer["X-Content-Type-Options"] = "nosniff"
    if size is not None:
        answer["Content-Length"] = str(size)
    return answer


def _plain(name: str) -> str:
    """A name that needs no quoting in a header."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name)[:120]


def rows_of(found: QuerySet[Any]) -> Iterator[Any]:
    """The rows of a queryset of the active organization in the order of their primary keys, some at a time, for an
    answer that is sent after its view has returned: each batch is read within the organization again, without a
    server-side cursor.
    """
    return _batches(found.order_by("pk"), active())


def _batches(found: QuerySet[Any], organization_id: Any) -> Iterator[Any]:
    last: Any = None
    while True:
        with tenant(organization_id):  # never across a yield: whoever reads has a context of their own
            batch: list[Model] = list((found if last is None else found.filter(pk__gt=last))[:BATCH])
        yield from batch
        if len(batch) < BATCH:
            return
        last = batch[-1].pk


class Csv(BaseRenderer):
    """Lets a client ask for `text/csv`; the view makes the answer itself."""

    media_type, format = "text/csv", "csv"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return JSONRenderer().render(data)  # an error


class Zip(Csv):
    media_type, format = "application/zip", "zip"


class Octets(Csv):
    """Any file: clients that download ask for `*/*` or for octets."""

    media_type, format = "application/octet-stream", "bin"


class EventStream(Csv):
    media_type, format = "text/event-stream", "sse"
