"""One HTTP/1.1 connection: sends a request and reads its whole response (RFC 9112)."""

import httptools

from amoc_gevent.http.errors import INCOMPLETE, INVALID, TOO_LARGE, InvalidResponse
from amoc_gevent.http.response import Response
from amoc_gevent.http.wire import coding, leniency
from amoc_gevent.http.wire.bodies import Body
from amoc_gevent.http.wire.heads import Head, cached_head, head_of
from amoc_gevent.http.wire.target import RequestTarget
from amoc_gevent.transport import Transport, TransportError
from amoc_gevent.transport.errors import CLOSED, RESET

MAX_HEAD = 1 << 20
MAX_INTERIM = 100

_END = b"\r\n\r\n"
_LIMIT = ", the limit session.max_response_size"


class _Reply:
    """The parser's callbacks. It has no reference to the connection, which would be a cycle."""

    __slots__ = ("complete", "parts", "surplus")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.complete = False
        self.surplus = False

    def on_message_begin(self) -> None:
        self.surplus = self.complete

    def on_body(self, part: bytes) -> None:
        if not self.complete:  # else it belongs to an unrequested response
            self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True


class HttpConnection:
    """A connection for one exchange at a time.

    `reusable`: whether another exchange can follow the last one.
    `response_begun`: whether the peer has sent at least one byte of the current response.
    `used`: whether the connection has had a response before.
    """

    __slots__ = ("_parser", "_reply", "response_begun", "reusable", "stream", "used")

    def __init__(self, stream: Transport) -> None:
        self.stream = stream
        self._renew()
        self.response_begun = self.reusable = self.used = False

    def exchange(
        self, target: RequestTarget, wire: bytes, body: Body | None, limit: int
    ) -> Response:
        """Send `wire`, then `body`, and return the response, with a body of at most `limit` bytes.

        Raises TransportError when the stream breaks, InvalidResponse for a bad response.
        """
        stream = self.stream
        self.response_begun = self.reusable = False
        broken = None
        try:
            stream.send(wire)
            sent = stream.sent
            if body is not None:
                for block in body.blocks():
                    stream.send(block)
        except TransportError as error:
            sent, broken = stream.sent, _if_reset(error)
        data = stream.receive()
        first = stream.arrived
        if not data:
            raise broken or TransportError(CLOSED, stream.peer)
        self.response_begun = True
        end = data.find(_END)
        head = cached_head(data[:end]) if end > 0 else None
        head_only = target.method == "HEAD"
        if head is not None and head.length == len(data) - end - len(_END) and not head_only:
            content, whole = data[end + len(_END) :], True
        else:
            head, content, whole = self._parse(data, end, head, head_only, limit)
        if head.codings or len(content) > limit:
            content = self._decode(content, head, limit)
        self.reusable = whole and not (head.closes or broken)
        response = Response(target, head, content)
        first_us, total_us = int((first - sent) * 1e6), int((stream.arrived - sent) * 1e6)
        # negative if the wall clock was set forward between the arrival and the read
        response.first_byte_us = first_us if first_us > 0 else 0
        response.total_us = total_us if total_us > 0 else 0
        if not self.used:
            self._add_connecting(response)
        return response

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()

    def _parse(
        self, data: bytes, end: int, seen: Head | None, head_only: bool, limit: int
    ) -> tuple[Head, bytes, bool]:
        """Read a response to its end. Return its head, undecoded body, and whether it was whole.

        A whole response ends by its own framing, with no bytes after it. The body length of a head
        is stored only when the head has been `seen` before, as most heads may never come again.
        """
        reply = self._reply
        reply.complete = reply.surplus = False
        if end < 0 or data[9:10] == b"1" or data[:5] != b"HTTP/":
            data, end = self._final_head(data)
        raw, refused = data[:end], None
        misread = leniency.misread(raw)
        if not misread:
            try:
                if head_only:
                    self._feed_head_only(data, end)
                else:
                    self._feed(data)
            except InvalidResponse as error:
                refused = error
        if misread or refused:
            reply, data, end = self._feed_rewritten(data, end, head_only, refused)
            raw = data[:end]
        head = seen or head_of(raw)
        if not reply.complete:
            self._read_rest(head, len(data) - end, limit)
        parts, reply.parts = reply.parts, []
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        whole = reply.complete and not reply.surplus
        if whole and not head_only and seen is not None and not seen.learned:
            seen.learn(len(content))
        return head, content, whole

    def _feed_rewritten(
        self, data: bytes, end: int, head_only: bool, refused: InvalidResponse | None
    ) -> tuple[_Reply, bytes, int]:
        """Parse a response again, with a head rewritten that breaks the grammar but is clear.

        Return the parser's reply and the changed data. Raises `refused` if nothing can be changed.
        """
        lined, end = leniency.cut(data) or (data, end)
        head, broken = leniency.rewritten(lined[:end])
        changed = head + lined[end:]
        if refused and (self._reply.parts or changed == data):
            raise refused
        self._renew()
        reply = self._reply
        if head_only:
            self._feed_head_only(changed, len(head))
        else:
            self._feed(changed)
        leniency.count(broken)
        if leniency.LENGTH_AND_CODING in broken:
            reply.surplus = True  # what follows may not be a response
        return reply, changed, len(head)

    def _renew(self) -> None:
        self._reply = _Reply()
        self._parser = httptools.HttpResponseParser(self._reply)
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reply.surplus = True  # another protocol follows
        except httptools.HttpParserError as error:
            if not self._reply.complete:
                raise InvalidResponse(INVALID, f"{self.stream.peer}: {error}") from None
            self._reply.surplus = True

    def _feed_head_only(self, data: bytes, end: int) -> None:
        """Parse a response to HEAD, which ends with its head. The parser has no option for that."""
        self._feed(data[: end + len(_END)])
        complete = self._reply
        self._renew()
        complete.complete = True
        complete.surplus = len(data) > end + len(_END)
        complete.parts.clear()

    def _final_head(self, data: bytes) -> tuple[bytes, int]:
        """Read to the end of the first head that is not 1xx. Return the data and that end."""
        for _ in range(MAX_INTERIM):
            data, end = self._whole_head(data)
            if data[9:10] != b"1" or data[9:12] == b"101":
                return data, end
            data = data[end + len(_END) :]
        raise InvalidResponse(
            INVALID, f"{self.stream.peer}: more than {MAX_INTERIM} interim responses"
        )

    def _whole_head(self, data: bytes) -> tuple[bytes, int]:
        searched = 0
        while True:
            if data[:5] != b"HTTP/"[: len(data)]:
                raise InvalidResponse(INVALID, f"{self.stream.peer} sent {data[:20]!r}")
            if whole := leniency.cut(data, searched):
                return whole
            if len(data) > MAX_HEAD:
                raise InvalidResponse(
                    TOO_LARGE, f"{self.stream.peer}: a head over {MAX_HEAD} bytes"
                )
            searched = max(0, len(data) - len(_END))
            more = self.stream.receive()
            if not more:
                raise InvalidResponse(INCOMPLETE, f"{self.stream.peer} closed within the head")
            data += more

    def _read_rest(self, head: Head, size: int, limit: int) -> None:
        """Read the body to its end or, without framing, to the end of the stream."""
        while not self._reply.complete:
            if size > limit:
                raise InvalidResponse(
                    TOO_LARGE, f"{self.stream.peer} sent more than {limit} bytes{_LIMIT}"
                )
            data = self.stream.receive()
            if not data:
                if head.framed:
                    raise InvalidResponse(INCOMPLETE, f"{self.stream.peer} closed within the body")
                return
            size += len(data)
            self._feed(data)

    def _decode(self, content: bytes, head: Head, limit: int) -> bytes:
        if len(content) > limit:
            raise InvalidResponse(
                TOO_LARGE, f"{self.stream.peer} sent more than {limit} bytes{_LIMIT}"
            )
        return coding.decode(content, head.codings, limit) if content else content

    def _add_connecting(self, response: Response) -> None:
        self.used = True
        stream = self.stream
        response.connect_us, response.tls_us = stream.connect_us, stream.tls_us
        response.total_us += stream.connect_us + (stream.tls_us or 0)


def _if_reset(error: TransportError) -> TransportError:
    """Return a reset, before which the peer may have answered. Raise any other error."""
    if error.kind != RESET:
        raise error
    return error
