"""Event types: each is declared once, as a pydantic model of its payload."""

from __future__ import annotations

import inspect
import re
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_OWN_NAMES = ("subject", "payload", "event_type", "subject_field")


class Event(BaseModel):
    """One kind of event; a subclass declares the fields of its payload.

    The name of the type is the name of the class in snake case. `class Bid(Event, name="bid_placed")` gives another one;
    `class BidPlaced(Event, subject="lot_id")` names the field that says what the event is about. That field is shown as
    the envelope's `subject`, not in the payload, and an `Order` follows each subject by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: ClassVar[str] = ""
    subject_field: ClassVar[str | None] = None

    def __init_subclass__(cls, *, name: str = "", subject: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if taken := [name for name in _OWN_NAMES if name in inspect.get_annotations(cls)]:
            raise TypeError(f"{cls.__name__}: a field can't be named {taken[0]}, which every event has already")

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str = "", subject: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.event_type = name or _WORD.sub("_", cls.__name__).lower()
        cls.subject_field = subject or cls.subject_field
        if not _TYPE.fullmatch(cls.event_type):
            raise TypeError(
                f"{cls.__name__}: an event type is lower-case letters, digits and _, not {cls.event_type!r}"
            )
        if cls.subject_field is not None and cls.subject_field not in cls.model_fields:
            raise TypeError(f"{cls.__name__} has no field {cls.subject_field!r} to be its subject")

    @property
    def subject(self) -> str | None:
        """What the event is about, where its type has a subject field."""
        return None if self.subject_field is None else str(getattr(self, self.subject_field))

    def payload(self) -> dict[str, JsonValue]:
        """Return what watchers are shown, without the subject."""
        hidden = None if self.subject_field is None else {self.subject_field}
        return self.model_dump(mode="json", exclude=hidden)


class RightsChanged(Event):
    """The rights to watch this stream have changed: `may_watch` is called for each watcher."""
