"""The last step to a socket, without detours: frames that were made once are written to the transport as bytes.

uvicorn's WebSocket protocol is kept whole; this one only lends its transport to the socket's endpoint, so that an event
for a thousand sockets is encoded once and costs each of them one write. Its buffer is the socket's bounded queue.

Sockets stay for hours, and most of them idle: what a socket's beginning needed, the layers of the application around its
endpoint and all that was said in the handshake, is let go of before the conversation goes on.
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
ROOM_BYTES = 256 * 1024


class DirectWriteProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which lends itself to the endpoint through the scope."""

    _rest: Coroutine[object, object, None] | None = None

    def handle_connect(self, event: Request) -> None:
        self.app = self._begin_and_go_on
        super().handle_connect(event)
        if not self.close_sent:
            cast("dict[str, object]", self.scope["extensions"])[EXTENSION] = self

    def go_on_with(self, rest: Coroutine[object, object, None]) -> None:
        """Take over what is left of a conversation once the endpoint, and all around it, has returned."""
        self._rest = rest

    async def _begin_and_go_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.app = self.config.loaded_app
        await self.app(scope, receive, send)
        if self._rest is not None:
            self._forget_handshake()
            rest, self._rest = self._rest, None
            await rest

    def _forget_handshake(self) -> None:
        self.request.headers.clear()  # the parser holds on to it, as our caller does to the scope
        cast("dict[str, object]", self.scope).clear()
        del self.request, self.response

    def send_receive_event_to_app(self) -> None:
        """Pass a message on, but not a text that is none: its client is told so if it has not said goodbye meanwhile.

        Both are the client's own business, and no error to write down for whoever sends such things.
        """
        if self.curr_msg_data_type == "text" and not self.close_sent and not is_text(b"".join(self.frames)):
            self.frames = []
            if self.conn.state is State.OPEN:
                self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answer, but not a client that sends pings and reads no pongs: they would pile up here."""
        pong = b"".join(self.conn.data_to_send())
        if self.transport.get_write_buffer_size() <= ROOM_BYTES:
            self.transport.write(pong)


class SocketWatcher:
    """One subscription of a socket, as the hub sees it."""

    def __init__(
        self,
        protocol: DirectWriteProtocol,
        stream: str,
        position: int,
        *,
        joined: bool,
        allowed: Allowed,
        dismissed: Callable[[CloseReason], None],
    ) -> None:
        self.position = position
        self._protocol = protocol
        self._stream = stream
        self._joined = joined
        self._allowed = allowed
        self._dismissed = dismissed
        self._live = False

    def offer(self, batch: Batch) -> bool:
        transport = self._protocol.transport
        if self._protocol.close_sent or self._protocol.disconnected:
            self.position = batch.last
            return True
        if transport.get_write_buffer_size() > ROOM_BYTES:
            return False
        transport.write(batch.joined_wire() if self._joined else batch.wire())
        self.position = batch.last
        return True

    async def room(self) -> None:
        await self._protocol.writable.wait()

    def caught_up(self) -> None:
        if not (self._live or self._protocol.close_sent or self._protocol.disconnected):
            self._protocol.transport.write(text_message(live_message(self._stream, self.position)))
        self._live = True

    async def allowed(self) -> bool:
        return await self._allowed()

    def dismiss(self, reason: CloseReason) -> None:
        self._dismissed(reason)


def is_text(said: bytes) -> bool:
    try:
        said.decode()
    except UnicodeDecodeError:
        return False
    return True


def lent(scope: Scope) -> DirectWriteProtocol | None:
    """The protocol behind a socket, where the server is ours."""
    protocol = scope.get("extensions", {}).get(EXTENSION)
    return protocol if isinstance(protocol, DirectWriteProtocol) else None
