"""The names of a service's channels in Redis.

Streams are spread over a fixed number of partitions, and a partition's tag is part of the names of its channels. So a
cluster keeps a stream's channel on one server, and a process needs no more connections than the cluster has masters.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

PARTITIONS = 64


@dataclass(frozen=True)
class Channels:
    prefix: str

    def of_stream(self, stream: str) -> str:
        return f"{self.of_partition(partition(stream))}stream:{stream}"

    def stream_of(self, channel: str) -> str:
        return channel.removeprefix(self.prefix).partition("}:stream:")[2]

    def beat(self, number: int, process: str) -> str:
        """Return the channel of a process's heartbeats in a partition."""
        return f"{self.of_partition(number)}beat:{process}"

    def of_partition(self, number: int) -> str:
        """Return the prefix of a partition's channels; a cluster hashes the text in the braces."""
        return f"{self.prefix}:{{{number}}}:"


def partition(stream: str) -> int:
    """Return a stream's partition, which is the same in every process and on every machine."""
    return crc32(stream.encode()) % PARTITIONS
