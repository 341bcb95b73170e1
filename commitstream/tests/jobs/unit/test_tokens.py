"""Tokens that are expired, forged, for another audience or malformed are refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from commitstream.service.tokens import InvalidToken, Tokens
from commitstream.settings import EngineSettings
from commitstream.tests.jobs.application import JobsSettings
from commitstream.tests.jobs.inside import Inside, assert_problem, bearer
from test_framework import CHECKOUT
from test_framework.users import TestUserContext

ODD_BUT_HONEST = [
    "Zoë",
    "a b",
    "ada@example.org",
    "*",
    "a:b",
    "..",
    "%00",
    "{}",
    "'; DROP TABLE jobs; --",
    "日本",
    "a" * 64,
]
NO_USERS: list[object] = ["", "a" * 65, "a\nb", "a\0b", "a\rb", "a\u2028b", "\ud800", "a\x1b[2J", 7, None, ["ada"], {}]


def claims(settings: EngineSettings, **changed: object) -> dict[str, Any]:
    honest = {"sub": "ada", "aud": settings.token_audience, "exp": datetime.now(UTC).timestamp() + 60}
    return {name: value for name, value in (honest | changed).items() if value is not ...}


def key_id(settings: EngineSettings) -> str:
    return str(jwt.get_unverified_header(Tokens(settings).issue("ada"))["kid"])


def signed(settings: EngineSettings, *, kid: object = None, **changed: object) -> str:
    header = {"kid": kid or key_id(settings)}
    return jwt.encode(claims(settings, **changed), settings.signing_key, "HS256", headers=header)


def by_hand(header: object, payload: object, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def tampered(settings: EngineSettings) -> str:
    header, _, signature = signed(settings).split(".")
    return f"{header}.{signed(settings, sub='bob').split('.')[1]}.{signature}"


ForgeToken = Callable[[EngineSettings], str]
WORTHLESS: dict[str, ForgeToken] = {
    "expired": lambda s: TestUserContext(s, "ada").expired_token,
    "signed by a stranger": lambda s: TestUserContext(s, "ada").forged_token,
    "signed by a stranger who names our key": lambda s: jwt.encode(
        claims(s), "another secret of thirty-two characters", "HS256", headers={"kid": key_id(s)}
    ),
    "tampered with": tampered,
    "for another audience": lambda s: signed(s, aud="somebody else"),
    "for no audience": lambda s: signed(s, aud=...),
    "by another key": lambda s: signed(s, kid="another"),
    "by a key that is no word": lambda s: by_hand({"alg": "HS256", "kid": ["a"]}, claims(s)),
    "signed by a stranger who names no key": lambda s: jwt.encode(claims(s), "x" * 40, "HS256"),
    "by an empty key": lambda s: by_hand({"alg": "HS256", "kid": ""}, claims(s)),
    "unsigned": lambda s: by_hand({"alg": "none", "kid": key_id(s)}, claims(s)),
    "signed with nOnE": lambda s: by_hand({"alg": "nOnE", "kid": key_id(s)}, claims(s)),
    "of another algorithm": lambda s: jwt.encode(claims(s), s.signing_key * 2, "HS512", headers={"kid": key_id(s)}),
    "of an algorithm with public keys": lambda s: by_hand({"alg": "RS256", "kid": key_id(s)}, claims(s), b"x" * 256),
    "without a user": lambda s: signed(s, sub=...),
    "without an end": lambda s: signed(s, exp=...),
    "not good before tomorrow": lambda s: signed(s, nbf=datetime.now(UTC) + timedelta(days=1)),
    "that ends in words": lambda s: signed(s, exp="tomorrow"),
    "that ends in a number in words": lambda s: signed(s, exp=str(2**40)),
    "that never ends": lambda s: signed(s, exp=float("inf")),
    "that ends in the year of the sun": lambda s: signed(s, exp=10**18),
    "that ends never and nowhere": lambda s: signed(s, exp=float("nan")),
    "a list": lambda s: by_hand({"alg": "HS256", "kid": key_id(s)}, ["ada"], b"x" * 32),
    "deep": lambda s: by_hand({"alg": "HS256", "kid": key_id(s)}, "x", b"x" * 32).replace(".", "." + "WwAA" * 4000, 1),
    "huge": lambda s: "x" * 100_000,
    "garbage": lambda s: "garbage",
    "dots": lambda s: "..",
    "bytes": lambda s: "\xff\xfe.\xff.\xff",
    "nothing": lambda s: "",
}


@pytest.mark.parametrize("forge", [pytest.param(forge, id=name) for name, forge in WORTHLESS.items()])
def test_a_worthless_token_proves_nothing(plain: JobsSettings, forge: ForgeToken) -> None:
    with pytest.raises(InvalidToken) as refused:
        Tokens(plain).user(forge(plain))

    assert plain.signing_key not in str(refused.value)


def test_a_token_without_a_key_id_is_accepted(plain: JobsSettings) -> None:
    token = jwt.encode(claims(plain), plain.signing_key, "HS256")

    assert "kid" not in jwt.get_unverified_header(token)
    assert Tokens(plain).user(token).id == "ada"


def test_a_token_of_an_unknown_key_id_is_refused_with_that_reason(plain: JobsSettings) -> None:
    with pytest.raises(InvalidToken, match="`kid` names a key that is not in use"):
        Tokens(plain).user(signed(plain, kid="another"))


async def test_a_token_made_as_operations_md_shows_is_accepted(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    document = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    (snippet,) = (code for code in re.findall(r"```python\n(.*?)```", document, re.DOTALL) if "jwt.encode" in code)
    monkeypatch.setenv("APP_TOKEN_SECRET", inside.settings.signing_key)
    names: dict[str, str] = {}

    exec(compile(snippet, "docs/operations.md", "exec", dont_inherit=True), names)

    assert (await inside.client.get("/api/jobs", headers=bearer(names["token"]))).status_code == 200


@pytest.mark.parametrize("user_id", NO_USERS, ids=repr)
def test_a_token_whose_user_is_no_name_is_refused(plain: JobsSettings, user_id: object) -> None:
    with pytest.raises(InvalidToken):
        Tokens(plain).user(by_name(plain, user_id))


def by_name(settings: JobsSettings, user_id: object) -> str:
    """Signed in good order, as a careless issuer might: PyJWT itself would refuse to make some of these."""
    header = by_hand({"alg": "HS256", "kid": key_id(settings)}, claims(settings, sub=user_id)).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        header.encode(), settings.signing_key.encode()
    )
    return f"{header}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("user_id", ODD_BUT_HONEST)
def test_an_odd_name_is_kept_as_it_is(plain: JobsSettings, user_id: str) -> None:
    assert Tokens(plain).user(by_name(plain, user_id)).id == user_id


async def test_a_worthless_token_is_answered_401_with_a_challenge(inside: Inside) -> None:
    for name, forge in WORTHLESS.items():
        token = forge(inside.settings)
        for path in ("/api/jobs", "/api/events"):
            headers = {b"authorization": b"Bearer " + token.encode("latin-1")}

            answer = await inside.client.get(path, headers=headers)

            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer", name
            assert not token or token not in answer.text


@pytest.mark.parametrize("authorization", ["Basic YWRhOmFkYQ==", "Bearer", "bearer", "Token x", "null"])
async def test_a_request_without_a_bearer_token_is_refused(inside: Inside, authorization: str) -> None:
    answer = await inside.client.get("/api/jobs", headers={"Authorization": authorization})

    assert_problem(answer, 401, "Authorization: Bearer")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_dev_makes_a_token_for_whoever_asks(inside: Inside) -> None:
    made = (await inside.client.post("/api/dev/token", json={"user": "ada"})).json()

    assert Tokens(inside.settings).user(made["token"]).id == "ada"
    assert (await inside.client.get("/api/jobs", headers=bearer(made["token"]))).status_code == 200


async def test_a_clock_that_is_set_back_locks_nobody_out(inside: Inside) -> None:
    made = signed(inside.settings, iat=datetime.now(UTC) + timedelta(hours=1))

    assert (await inside.client.get("/api/jobs", headers=bearer(made))).status_code == 200


async def test_dev_refuses_a_name_with_the_rule_that_it_breaks(inside: Inside) -> None:
    answer = await inside.client.post("/api/dev/token", json={"user": "Ada Lovelace"})

    assert_problem(answer, 422)
    (error,) = answer.json()["errors"]
    assert error["where"] == ["body", "user"]
    assert error["why"].startswith("only the letters A to Z, digits")
