"""A program that serves itself, records its own traces in memory, has one run made, and prints what it recorded as JSON.

It sets OpenTelemetry's provider as any other program would that has the service in it. A process of its own, because a
provider can be set only once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.settings import Settings
from commitstream.service import logs
from commitstream.topics import user_stream
from test_framework.servers import in_loop
from tests.agents.context import AgentsContext

MESSAGE = '!think first\n!call count_words {"text": "a b"}\n!call count_words {"wrong": 1}'


class Lines(logging.Handler):
    """Keeps the ids of every line that is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.ids.append(logs.bound())


async def record(settings: Settings, parent: str) -> dict[str, object]:
    memory, lines = InMemorySpanExporter(), Lines()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    requests = logging.getLogger("commitstream.requests")
    requests.setLevel(logging.INFO)
    async with in_loop(settings) as server, AgentsContext(server) as ada:
        await ada.client.request("GET", "/health/ready")
        requests.addHandler(lines)
        headers = {"traceparent": parent} if parent else {}
        answer = await ada.client.request("POST", "/api/runs", json={"message": MESSAGE}, headers=headers)
        requests.removeHandler(lines)
        await ada.wait_for_end(answer.json()["id"])
        stream, journal = user_stream(ada.user.id), server.engine.journal
        kept = [await journal.metadata(stream, event.seq) for event in ada.capture.events]
    return {
        "logged": [ids["trace_id"] for ids in lines.ids],
        "journal": [metadata["trace_id"] for metadata in kept],
        "shown": [event.metadata for event in ada.capture.events],
        "spans": [json.loads(span.to_json()) for span in memory.get_finished_spans()],
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    settings = Settings(_env_file=None, **given["settings"])
    print(json.dumps(asyncio.run(record(settings, given["parent"]))))
