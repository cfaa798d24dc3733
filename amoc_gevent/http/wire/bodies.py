"""Request bodies: forms, JSON, files and streams, encoded as in requests."""

import json as json_module
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from amoc_gevent.http.wire.urls import form_encode, values_of

BLOCK = 65536

FORM = "application/x-www-form-urlencoded"

Data = Mapping[str, Any] | Iterable[Any] | str | bytes | None
Files = Mapping[str, Any] | Iterable[tuple[str, Any]] | None


@dataclass(slots=True, eq=False)
class Body:
    """A request body: `content`, or a `stream`.

    `length`: bytes of the stream, None if unknown, which makes it chunked.
    `restart`: position to seek to before sending the stream, None if it cannot be sent twice.
    """

    content: bytes = b""
    content_type: str | None = None
    stream: Any = None
    length: int | None = None
    restart: int | None = None

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent a second time."""
        return self.stream is None or self.restart is not None

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes to send, in chunked coding if the length is unknown."""
        if self.stream is None:
            yield self.content
            return
        if self.restart is not None:
            self.stream.seek(self.restart)
        for block in _read(self.stream):
            data = block.encode() if isinstance(block, str) else bytes(block)
            if self.length is not None:
                yield data
            elif data:
                yield b"%x\r\n%b\r\n" % (len(data), data)
        if self.length is None:
            yield b"0\r\n\r\n"


EMPTY = Body()


def encode(data: Data, json: Any, files: Files) -> Body:  # json: any JSON value
    """Return the body for these request arguments."""
    if files:
        return _multipart(data, files)
    if data:
        return _from_data(data)
    if json is not None and not data:
        text = json_module.dumps(json, allow_nan=False)
        return Body(text.encode(), "application/json")
    return EMPTY


def _from_data(data: Any) -> Body:  # any type that `data` can have
    if isinstance(data, bytes | bytearray | memoryview):
        return Body(bytes(data))
    if isinstance(data, str):
        return Body(data.encode())
    if isinstance(data, Mapping | list | tuple):
        return Body(form_encode(data).encode(), FORM)
    return _streamed(data)


def _streamed(source: Any) -> Body:  # a file or an iterator
    try:
        start = source.tell()
        source.seek(0, 2)
        end = source.tell()  # `seek` of some file-like objects returns nothing
        source.seek(start)
    except (AttributeError, OSError):
        return Body(stream=source)
    if isinstance(source.read(0), str):
        return Body(source.read().encode())
    return Body(stream=source, length=end - start, restart=start)


def _read(source: Any) -> Iterator[Any]:  # a file or an iterator
    if not hasattr(source, "read"):
        yield from source
        return
    while block := source.read(BLOCK):
        yield block


def _multipart(data: Data, files: Files) -> Body:
    """Encode a form with files (RFC 7578). A file is content or (name, content, type, headers)."""
    from urllib3.fields import RequestField  # noqa: PLC0415  # rarely needed
    from urllib3.filepost import encode_multipart_formdata  # noqa: PLC0415

    fields: list[Any] = []
    pairs: Iterable[Any] = data.items() if isinstance(data, Mapping) else data or ()
    for key, values in pairs:
        fields += [(key, v if isinstance(v, bytes) else str(v)) for v in values_of(values)]
    for key, value in files.items() if isinstance(files, Mapping) else files or ():
        given = value if isinstance(value, tuple | list) else (_name_of(value) or key, value)
        name, content, kind, headers = (*given, None, None)[:4]
        if content is None:
            continue
        raw = content.read() if hasattr(content, "read") else content
        field = RequestField(name=key, data=raw, filename=name, headers=headers)
        field.make_multipart(content_type=kind)
        fields.append(field)
    content, content_type = encode_multipart_formdata(fields)
    return Body(content, content_type)


def _name_of(value: Any) -> str | None:  # any object may have a name
    name = getattr(value, "name", None)
    if isinstance(name, str) and name and name[0] != "<" and name[-1] != ">":
        return PurePath(name).name
    return None
