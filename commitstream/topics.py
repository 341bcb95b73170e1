"""Topics: which event types a stream takes, in which order, and who may watch it.

A stream is named `topic:key`. The topic stands first and holds no colon, so that no key can name another topic.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from commitstream.events import Event, RightsChanged
from commitstream.user import User

if TYPE_CHECKING:
    from commitstream.engine import Engine

LONGEST_KEY = 200
USER_TOPIC = "user"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


MayWatch = Callable[[User, str], bool | Awaitable[bool]] | Callable[[User, str, "Engine"], bool | Awaitable[bool]]


class UnknownTopicError(ValueError):
    """A stream of a topic that the application doesn't have."""


class UnknownEventTypeError(ValueError):
    """An event of a type that its topic doesn't take."""


class OrderError(ValueError):
    """An event that may not follow the one before it."""


class InvalidStreamError(ValueError):
    """A text that is not the name of a stream."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of events: a topic, and the key of what it is about."""

    topic: str
    key: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.topic):
            raise InvalidStreamError(
                f"a topic's name is 1 to 40 lower-case letters, digits and _, not {self.topic[:50]!r}"
            )
        if not 0 < len(self.key) <= LONGEST_KEY or not self.key.isprintable():
            raise InvalidStreamError(
                f"a stream's key has 1 to {LONGEST_KEY} printable characters, unlike {self.key[:50]!r}"
            )

    def __str__(self) -> str:
        return f"{self.topic}:{self.key}"

    @classmethod
    def parse(cls, name: str) -> Stream:
        """Read `topic:key`; raises InvalidStreamError."""
        topic, colon, key = name.partition(":")
        if not colon:
            raise InvalidStreamError(f"a stream is named topic:key, unlike {name[:50]!r}")
        return cls(topic, key)


class Order:
    """Which event types may follow which. A type that no order names may come at any time.

    The order holds for each subject separately; events without a subject share the order of their stream.

    Args:
        first: the types that may come first.
        follows: for each type, those that may come after it.

    Example:
        Order(first=[Opened], follows={Opened: [Bid, Closed], Bid: [Bid, Closed], Closed: []})
    """

    def __init__(self, first: Iterable[type[Event]], follows: Mapping[type[Event], Iterable[type[Event]]]) -> None:
        self.transitions: dict[str | None, frozenset[str]] = {None: _names(first)}
        self.transitions |= {before.event_type: _names(after) for before, after in follows.items()}
        reached = frozenset().union(*self.transitions.values())
        if missing := reached - self.transitions.keys():
            raise ValueError(f"the order does not say what follows {', '.join(sorted(missing))}")

    @property
    def types(self) -> frozenset[str]:
        return frozenset(name for name in self.transitions if name is not None)

    @property
    def last(self) -> frozenset[str]:
        """The types that no other may follow."""
        return frozenset(name for name in self.types if not self.transitions[name])

    def check(self, before: str | None, after: str) -> None:
        """Raise OrderError unless the type `after` may follow `before`; None is the beginning."""
        allowed = self.transitions.get(before, frozenset())
        if after not in allowed:
            expected = " or ".join(sorted(allowed)) or "nothing more"
            raise OrderError(f"{after} can't follow {before or 'the beginning'}: expected {expected}")


class Topic:
    """A kind of stream.

    Args:
        name: what the names of its streams begin with.
        events: the types it takes. Others are refused when they are written.
        may_watch: called with a user and a key, at subscription, when the user's token is renewed, and after
            `RightsChanged`; it may be a coroutine function. One with a third parameter is given the engine, so that it
            can ask the database.
        order: in which order types may follow one another.
        metadata: which metadata of an event its watchers are shown; none unless named.
    """

    def __init__(
        self,
        name: str,
        *,
        events: Sequence[type[Event]],
        may_watch: MayWatch,
        order: Order | None = None,
        metadata: Iterable[str] = (),
    ) -> None:
        Stream(name, "any key")
        self.name = name
        self.may_watch = may_watch
        self._parameters = len(inspect.signature(may_watch).parameters)
        self.orders = [order] if order is not None else []
        self.events: dict[str, type[Event]] = {}
        shown = frozenset(metadata)
        for kind in events:
            self._take(kind)
        self._shown = dict.fromkeys(self.events, shown)
        self._take(RightsChanged)
        if order is not None and (unknown := order.types - self.events.keys()):
            raise ValueError(f"topic {name}: its order names {', '.join(sorted(unknown))}, which it doesn't take")

    def stream(self, key: str) -> Stream:
        """Return the stream of a key."""
        return Stream(self.name, key)

    def metadata_shown(self, event_type: str) -> frozenset[str]:
        """Return which metadata watchers are shown of the events of a type."""
        return self._shown.get(event_type, frozenset())

    def order_of(self, event_type: str) -> Order | None:
        return next((order for order in self.orders if event_type in order.types), None)

    def require(self, event: Event) -> None:
        """Raise UnknownEventTypeError unless the topic takes this event."""
        if self.events.get(event.event_type) is not type(event):
            raise UnknownEventTypeError(
                f"topic {self.name} takes no {event.event_type} ({type(event).__name__}); "
                f"it takes {', '.join(sorted(self.events))}"
            )

    async def allows(self, user: User, key: str, engine: Engine) -> bool:
        """Ask whether a user may watch the stream of a key."""
        given = (user, key, engine)[: self._parameters]
        answer = cast("Callable[..., bool | Awaitable[bool]]", self.may_watch)(*given)
        return bool(await answer if inspect.isawaitable(answer) else answer)

    def merged(self, other: Topic) -> Topic:
        """Return a topic with the events of both; each shows the metadata of its own events."""
        if self.may_watch is not other.may_watch:
            raise ValueError(f"two topics are named {self.name}, and differ in who may watch")
        both = Topic(
            self.name,
            events=[kind for kind in self.events.values() if kind is not RightsChanged],
            may_watch=self.may_watch,
        )
        for kind in other.events.values():
            both._take(kind)
        both._shown = other._shown | self._shown
        both.orders = [*self.orders, *other.orders]
        return both

    def _take(self, kind: type[Event]) -> None:
        if self.events.setdefault(kind.event_type, kind) is not kind:
            raise ValueError(f"topic {self.name}: two event types are named {kind.event_type}")


def own_stream(user: User, key: str) -> bool:
    """Return whether the stream is the user's own."""
    return user.id == key


def users(*, events: Sequence[type[Event]] = (), order: Order | None = None, metadata: Iterable[str] = ()) -> Topic:
    """Return the topic of users' own streams, with the event types that a domain writes there."""
    return Topic(USER_TOPIC, events=events, may_watch=own_stream, order=order, metadata=metadata)


def user_stream(user_id: str) -> Stream:
    """Return a user's own stream, which every connection watches unless it asks for others."""
    return Stream(USER_TOPIC, user_id)


class Topics:
    """All topics of an application, by name; topics of one name are merged."""

    def __init__(self, topics: Iterable[Topic] = ()) -> None:
        self._topics: dict[str, Topic] = {}
        for topic in (users(), *topics):
            self.add(topic)

    def add(self, topic: Topic) -> None:
        known = self._topics.get(topic.name)
        self._topics[topic.name] = topic if known is None else known.merged(topic)

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._topics.values())

    def of(self, stream: Stream) -> Topic:
        """Return the topic of a stream; raises UnknownTopicError."""
        found = self._topics.get(stream.topic)
        if found is None:
            raise UnknownTopicError(f"there is no topic {stream.topic!r}; there are {', '.join(sorted(self._topics))}")
        return found

    @property
    def event_types(self) -> list[str]:
        """The names of all event types, in the order of their declaration."""
        found = (name for topic in self for name in topic.events if name != RightsChanged.event_type)
        return list(dict.fromkeys(found))


def _names(kinds: Iterable[type[Event]]) -> frozenset[str]:
    return frozenset(kind.event_type for kind in kinds)
