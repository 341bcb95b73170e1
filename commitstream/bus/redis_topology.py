"""Who serves which channels: one Redis all of them, or each master of a cluster its share.

Which partitions a master serves follows from the slots that it names: a cluster hashes the tag in a channel's name.
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
from commitstream.bus.redis_link import connect, hang_up

ASK_SECONDS = 0.5


@dataclass(frozen=True)
class Server:
    """One that carries the channels of some partitions."""

    url: str
    partitions: frozenset[int]
    sharded: bool


async def ask(url: str, channels: Channels) -> frozenset[Server]:
    """Ask a server whether it stands alone, and if not who serves what; raises what redis-py does, within a deadline."""
    client = connect(url, ASK_SECONDS)
    try:
        hello = cast("dict[bytes, object]", await _say(client, "HELLO", "3"))
        if hello.get(b"mode") != b"cluster":
            return frozenset({Server(url, frozenset(range(PARTITIONS)), sharded=False)})
        ranges = cast("list[list[object]]", await _say(client, "CLUSTER", "SLOTS"))
    finally:
        await hang_up(client)
    shares: defaultdict[str, set[int]] = defaultdict(set)
    for first, last, master, *_ in ranges:
        host, port = cast("list[object]", master)[:2]
        slots = range(cast("int", first), cast("int", last) + 1)
        shares[beside(url, _text(host), cast("int", port))] |= {
            number for number in range(PARTITIONS) if key_slot(channels.of_partition(number).encode()) in slots
        }
    found = frozenset(Server(place, frozenset(share), sharded=True) for place, share in shares.items() if share)
    if not found:
        raise RedisError("this server of a cluster knows of none that serves anything")
    return found


def beside(url: str, host: str, port: int) -> str:
    """The URL of another server of the same cluster; one that names no host is at the address that was asked."""
    asked = urlsplit(url)
    credentials, at, _ = asked.netloc.rpartition("@")
    host = host if host not in {"", "?"} else asked.hostname or "127.0.0.1"
    place = f"[{host}]" if ":" in host else host
    scheme = asked.scheme if asked.scheme != "unix" else "redis"
    return urlunsplit((scheme, f"{credentials}{at}{place}:{port}", "", asked.query, ""))


async def _say(client: Redis, *words: str) -> object:
    answer: object = await client.execute_command(*words)  # type: ignore[no-untyped-call]
    return answer


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
