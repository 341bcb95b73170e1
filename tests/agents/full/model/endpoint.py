"""A real HTTP server on loopback that speaks as much of the chat completions API as a test has it say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from pydantic import JsonValue

Json = dict[str, JsonValue]


@dataclass(frozen=True)
class Reply:
    """What the server answers to one request; without a status it hangs up, without a body it never answers."""

    status: int | None = 200
    body: bytes | None = b""
    headers: tuple[tuple[str, str], ...] = ()


HANG = Reply(body=None)
CUT = Reply(status=None)


def says(text: str | None, *calls: tuple[str, str], **more: JsonValue) -> Reply:
    """An answer with some text, or calls of tools with arguments as JSON text, or both."""
    tool_calls: list[JsonValue] = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(calls)
    ]
    message: Json = {"role": "assistant", "content": text, **more} | ({"tool_calls": tool_calls} if calls else {})
    completion = {
        "id": "completion",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "finish_reason": "tool_calls" if calls else "stop", "message": message}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
    return Reply(body=json.dumps(completion).encode(), headers=(("content-type", "application/json"),))


def refuses(status: int, *, code: str | None = None, words: str = "no", wait: int = 0) -> Reply:
    body = json.dumps({"error": {"message": words, "type": "error", "code": code}}).encode()
    headers = [("content-type", "application/json")] + ([("retry-after-ms", str(wait))] if wait else [])
    return Reply(status, body, tuple(headers))


@dataclass
class ChatServer:
    """Gives its replies one after another, the last one for ever, and remembers what it was asked."""

    replies: list[Reply]
    port: int = 0
    asked: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def said_last(self) -> list[Json]:
        """The messages that the model was sent with the last request."""
        messages = self.asked[-1]["messages"]
        assert isinstance(messages, list)
        return [message for message in messages if isinstance(message, dict)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
                }
                self.headers.append(headers)
                self.asked.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
                self.heard.set()
                if not await self._reply(self.replies.pop(0) if len(self.replies) > 1 else self.replies[0], writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _reply(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        if reply.status is None:
            return False
        if reply.body is None:
            await asyncio.Event().wait()
            return False
        head = [f"HTTP/1.1 {reply.status} as told", f"content-length: {len(reply.body)}"]
        head += [f"{name}: {value}" for name, value in reply.headers]
        writer.write("\r\n".join([*head, "", ""]).encode() + reply.body)
        await writer.drain()
        return True


@asynccontextmanager
async def chat_server(*replies: Reply) -> AsyncIterator[ChatServer]:
    """Serve on a free port until the block ends."""
    chat = ChatServer(list(replies))
    conversations: set[asyncio.Task[None]] = set()

    def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(chat.serve(reader, writer), name="chat server: converse")
        conversations.add(task)
        task.add_done_callback(conversations.discard)

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    chat.port = server.sockets[0].getsockname()[1]
    try:
        yield chat
    finally:
        server.close()
        for conversation in list(conversations):
            conversation.cancel()
        if conversations:
            await asyncio.wait(list(conversations))
