"""The topology of Redis: which server has which channels.

A single Redis has all of them. In a cluster a channel's slot is the hash of the tag in its name, and each master names
its slots.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from commitstream.bus.channels import PARTITIONS, Channels
from commitstream.bus.redis_link import close_client, connect

QUERY_SECONDS = 0.5


@dataclass(frozen=True)
class Server:
    """A Redis server, with the partitions whose channels it has."""

    url: str
    partitions: frozenset[int]
    sharded: bool


async def query_topology(url: str, channels: Channels) -> frozenset[Server]:
    """Query a server for the topology; raises redis-py's errors, after a timeout at the latest."""
    client = connect(url, QUERY_SECONDS)
    try:
        hello = cast("dict[bytes, object]", await _command(client, "HELLO", "3"))
        if hello.get(b"mode") != b"cluster":
            return frozenset({Server(url, frozenset(range(PARTITIONS)), sharded=False)})
        ranges = cast("list[list[object]]", await _command(client, "CLUSTER", "SLOTS"))
    finally:
        await close_client(client)
    shares: defaultdict[str, set[int]] = defaultdict(set)
    for first, last, master, *_ in ranges:
        host, port = cast("list[object]", master)[:2]
        slots = range(cast("int", first), cast("int", last) + 1)
        shares[sibling_url(url, _text(host), cast("int", port))] |= {
            number for number in range(PARTITIONS) if key_slot(channels.of_partition(number).encode()) in slots
        }
    found = frozenset(Server(url, frozenset(share), sharded=True) for url, share in shares.items() if share)
    if not found:
        raise RedisError("this server of a cluster knows no master with a slot of ours")
    return found


def sibling_url(url: str, host: str, port: int) -> str:
    """Return the URL of another server; one without a host has that of the queried server."""
    asked = urlsplit(url)
    credentials, at, _ = asked.netloc.rpartition("@")
    host = host if host not in {"", "?"} else asked.hostname or "127.0.0.1"
    address = f"[{host}]" if ":" in host else host
    scheme = asked.scheme if asked.scheme != "unix" else "redis"
    return urlunsplit((scheme, f"{credentials}{at}{address}:{port}", "", asked.query, ""))


async def _command(client: Redis, *words: str) -> object:
    answer: object = await client.execute_command(*words)  # type: ignore[no-untyped-call]
    return answer


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
