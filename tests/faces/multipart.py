"""Reading multipart/form-data in imitated platforms."""

from __future__ import annotations

from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from tests.faces.loopback import Request


@dataclass
class Part:
    content: bytes
    filename: str
    media_type: str

    @property
    def text(self) -> str:
        return self.content.decode()


def parts_of(request: Request) -> dict[str, Part]:
    """The named parts of a form that was posted."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    found = {}
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = Part(content, part.get_filename() or "", part.get_content_type())
    return found
