"""Direct writes of an event's encoded frame to the transports of sockets.

This extends uvicorn's WebSocket protocol and gives its transport to the socket's endpoint, so that an event for a
thousand sockets is encoded once and costs each of them one write. The transport's write buffer is the socket's bounded
queue.

Sockets stay open for hours, and most of them are idle. So what only the handshake needed, its headers and the
middleware around the endpoint, is released before the conversation continues.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from commitstream.envelope import Batch, text_message
from commitstream.transports.protocol import live_message
from commitstream.watchers import Allowed, CloseReason

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from websockets.http11 import Request

EXTENSION = "commitstream.direct_write"
WRITE_BUFFER_LIMIT = 256 * 1024


class DirectWriteProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which the endpoint finds in the scope."""

    _conversation: Coroutine[object, object, None] | None = None

    def handle_connect(self, event: Request) -> None:
        self.app = self._run_app
        super().handle_connect(event)
        if not self.close_sent:
            cast("dict[str, object]", self.scope["extensions"])[EXTENSION] = self

    def run_after_handshake(self, conversation: Coroutine[object, object, None]) -> None:
        """Run the conversation once the endpoint, and all middleware around it, has returned."""
        self._conversation = conversation

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.app = self.config.loaded_app
        await self.app(scope, receive, send)
        if self._conversation is not None:
            self._forget_handshake()
            conversation, self._conversation = self._conversation, None
            await conversation

    def _forget_handshake(self) -> None:
        self.request.headers.clear()  # the parser keeps a reference to it, as our caller does to the scope
        cast("dict[str, object]", self.scope).clear()
        del self.request, self.response

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; close with 1007 (invalid data) for a text that is not UTF-8.

        uvicorn would log an error for each of them, which any client could cause at will.
        """
        if self.curr_msg_data_type == "text" and not self.close_sent and not is_utf8(b"".join(self.frames)):
            self.frames = []
            if self.conn.state is State.OPEN:
                self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer, but not a client that sends pings and reads no pongs: they would fill the write buffer."""
        pong = b"".join(self.conn.data_to_send())
        if self.transport.get_write_buffer_size() <= WRITE_BUFFER_LIMIT:
            self.transport.write(pong)


class SocketWatcher:
    """A watcher that writes to a socket's transport: one subscription of a WebSocket connection."""

    def __init__(
        self,
        protocol: DirectWriteProtocol,
        stream: str,
        position: int,
        *,
        joined: bool,
        allowed: Allowed,
        on_close: Callable[[CloseReason], None],
    ) -> None:
        self.position = position
        self._protocol = protocol
        self._stream = stream
        self._joined = joined
        self._allowed = allowed
        self._on_close = on_close
        self._live = False

    def try_send(self, batch: Batch) -> bool:
        transport = self._protocol.transport
        if self._protocol.close_sent or self._protocol.disconnected:
            self.position = batch.last
            return True
        if transport.get_write_buffer_size() > WRITE_BUFFER_LIMIT:
            return False
        transport.write(batch.joined_wire() if self._joined else batch.wire())
        self.position = batch.last
        return True

    async def wait_writable(self) -> None:
        await self._protocol.writable.wait()

    def caught_up(self) -> None:
        if not (self._live or self._protocol.close_sent or self._protocol.disconnected):
            self._protocol.transport.write(text_message(live_message(self._stream, self.position)))
        self._live = True

    async def allowed(self) -> bool:
        return await self._allowed()

    def close(self, reason: CloseReason) -> None:
        self._on_close(reason)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def get_protocol(scope: Scope) -> DirectWriteProtocol | None:
    """Return the protocol behind a socket; None on a server that is not set up with this one."""
    protocol = scope.get("extensions", {}).get(EXTENSION)
    return protocol if isinstance(protocol, DirectWriteProtocol) else None
