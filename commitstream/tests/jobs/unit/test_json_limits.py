"""A JSON body of any shape costs the loop little time and gets a short answer."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest

from commitstream.service.json_limits import DEEPEST, MOST_PARTS
from commitstream.service.request_guard import LARGEST_BODY
from commitstream.tests.jobs.inside import Inside, assert_problem

CPU_SECONDS = 0.5
SIZE = LARGEST_BODY - 100
SHORT_ANSWER = 5000


def keys(count: int, width: int = 1) -> bytes:
    return b"{" + b",".join(b'"%s%d":1' % (b"k" * width, number) for number in range(count)) + b"}"


def json_of(inside: Inside) -> dict[str, str]:
    return inside.user() | {"Content-Type": "application/json"}


COSTLY = {
    "a third of a million unknown keys": keys(330_000),
    "as many unknown keys as are parsed": keys(MOST_PARTS // 2 - 10),
    "long unknown keys": keys(MOST_PARTS // 2 - 10, 700),
    "one key of four megabytes": b'{"' + b"k" * SIZE + b'":1}',
    "nested arrays": b"[" * SIZE,
    "nested objects": b'{"a":' * (SIZE // 5),
    "empty arrays": b"[" + b"[]," * (SIZE // 3) + b"[]]",
    "empty strings": b"[" + b'"",' * (SIZE // 3) + b'""]',
    "one huge integer": b"1" * SIZE,
    "one huge fraction": b"0." + b"1" * (SIZE - 2),
    "many large integers": b"[" + b",".join([b"9" * 990] * (SIZE // 991)) + b"]",
    "escaped quotes": b'{"message":"' + b'\\"' * (SIZE // 2) + b'"}',
    "escaped quotes without an end": b'{"message":"' + b'\\"' * (SIZE // 2),
    "backslashes": b"\\" * SIZE,
    "quotes": b'"' * SIZE,
    "spaces": b" " * SIZE,
    "UTF-16, which hides commas": ("[" + "1," * (SIZE // 4 - 5) + "1]").encode("utf-16"),
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in COSTLY.items()])
async def test_a_costly_body_is_refused_soon_and_briefly(inside: Inside, body: bytes) -> None:
    assert len(body) <= LARGEST_BODY
    before = time.thread_time()

    answer = await inside.client.post("/api/jobs", content=body, headers=json_of(inside))

    assert time.thread_time() - before < CPU_SECONDS
    assert answer.status_code in {400, 413, 422}
    assert_problem(answer, answer.status_code)
    assert len(answer.content) < SHORT_ANSWER


async def test_a_few_faults_are_listed_and_the_rest_counted(inside: Inside) -> None:
    answer = await inside.client.post("/api/jobs", content=keys(1000), headers=json_of(inside))

    assert_problem(answer, 422, "991 more faults are not shown")
    assert len(answer.json()["errors"]) == 10


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (keys(MOST_PARTS), f"more than {MOST_PARTS:,}"),
        (b"[" * (DEEPEST + 1), f"{DEEPEST} levels"),
        (b"9" * 2000, "1,000"),
    ],
    ids=["keys", "depth", "digits"],
)
async def test_a_body_beyond_a_limit_is_refused_with_the_limit(inside: Inside, body: bytes, words: str) -> None:
    assert_problem(await inside.client.post("/api/jobs", content=body, headers=json_of(inside)), 413, words)


@pytest.mark.parametrize("text", [",[]{}:", '"', "\\", '\\"', "日本", "\n\t "], ids=ascii)
async def test_a_long_message_of_any_characters_is_accepted(inside: Inside, text: str) -> None:
    message = text * (200_000 // len(text))

    answer = await inside.client.post("/api/jobs", content=json.dumps({"message": message}), headers=json_of(inside))

    assert answer.status_code == 202
    assert answer.json()["message"] == message


async def test_a_body_in_pieces_is_read_whole(inside: Inside) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"mes', b'sage":', b' "in pieces"}'):
            yield piece

    answer = await inside.client.post("/api/jobs", content=pieces(), headers=json_of(inside))

    assert answer.json()["message"] == "in pieces"
