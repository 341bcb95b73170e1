"""A tool is called with what its signature asks for, or not at all; either way its call is announced, and its end."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, JsonValue

from app.agents.dispatcher import ToolDispatcher, ToolError
from app.agents.events import RunEvent, ToolCompleted, ToolExecuting
from app.agents.tool_context import Caller


class Place(BaseModel):
    city: str
    floor: int = 0


async def book(
    place: Place, days: Annotated[int, Field(ge=1)], meal: Literal["lunch", "dinner"] | None = None, json: str = "plain"
) -> JsonValue:
    """Book a room."""
    return [place.city, place.floor, days, meal, json]


async def echo(**anything: JsonValue) -> JsonValue:
    """Say it again."""
    return anything


async def invalid_inside() -> JsonValue:
    """Raise what a wrong argument raises, from inside."""
    Place.model_validate({"city": 1})
    return None


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, JsonValue]] = []

    async def __call__(self, event: RunEvent) -> None:
        self.heard.append((event.event_type, event.payload().get("status")))


def ended(status: str) -> list[tuple[str, JsonValue]]:
    return [(ToolExecuting.event_type, None), (ToolCompleted.event_type, status)]


async def call(tool: str, arguments: dict[str, JsonValue], ears: Ears) -> JsonValue:
    return await ToolDispatcher([book, echo, invalid_inside]).call(tool, arguments, ears, Caller("ada", "a run"))


async def test_arguments_become_what_the_signature_says() -> None:
    ears = Ears()

    result = await call("book", {"place": {"city": "Oslo", "floor": "3"}, "days": 2, "json": "dark"}, ears)

    assert result == ["Oslo", 3, 2, None, "dark"]
    assert ears.heard == ended("ok")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"days": 1}, "place: Field required"),
        ({"place": "Oslo", "days": 1}, "place: "),
        ({"place": {"floor": 1}, "days": 1}, "place.city: Field required"),
        ({"place": {"city": "Oslo"}, "days": "two"}, "days: Input should be a valid integer"),
        ({"place": {"city": "Oslo"}, "days": 0}, "days: Input should be greater than or equal to 1"),
        ({"place": {"city": "Oslo"}, "days": 1, "meal": "tea"}, "meal: Input should be 'lunch' or 'dinner'"),
        ({"place": {"city": "Oslo"}, "days": 1, "nights": 1}, "nights: Extra inputs are not permitted"),
        ({}, "place: Field required; days: Field required"),
    ],
)
async def test_wrong_arguments_are_named_and_the_tool_is_not_called(
    arguments: dict[str, JsonValue], words: str
) -> None:
    ears = Ears()

    with pytest.raises(ToolError, match="invalid arguments for tool book: ") as refused:
        await call("book", arguments, ears)

    assert words in str(refused.value)
    assert "pydantic" not in str(refused.value)
    assert ears.heard == ended("failed")


async def test_a_tool_that_takes_anything_is_given_everything() -> None:
    assert await call("echo", {"a": 1, "self": [2]}, Ears()) == {"a": 1, "self": [2]}


async def test_what_is_invalid_inside_a_tool_is_the_tool_s_own_fault() -> None:
    with pytest.raises(ToolError, match="invalid_inside raised ValidationError"):
        await call("invalid_inside", {}, Ears())
