"""The names of a service's channels in Redis.

Streams are spread over a fixed number of partitions, and a partition's tag stands in the names of its channels. So a cluster
keeps a stream's channel on one server, and a process needs no more connections than the cluster has masters.
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
        """A process's own channel in a partition."""
        return f"{self.of_partition(number)}beat:{process}"

    def of_partition(self, number: int) -> str:
        """What the names in a partition begin with; a cluster hashes what stands in the braces."""
        return f"{self.prefix}:{{{number}}}:"


def partition(stream: str) -> int:
    """The same for a stream in every process, whatever it runs on."""
    return crc32(stream.encode()) % PARTITIONS
