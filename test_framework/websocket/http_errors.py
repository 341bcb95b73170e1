"""What a failed call tells: the request as it was sent and the answer as it came, without the secrets in them."""

from __future__ import annotations

import httpx

LONGEST_BODY = 2000
SECRET_HEADERS = frozenset({"authorization", "cookie", "set-cookie"})
TELLING_HEADERS = ("content-type", "x-request-id", "retry-after", "location", "www-authenticate", "allow")


class UnexpectedAnswer(AssertionError):
    """The service answered otherwise than the caller of a typed method had to expect."""


class NoAnswer(AssertionError):
    """Nobody answered."""

    def __init__(self, method: str, url: str, error: httpx.TransportError) -> None:
        slow = isinstance(error, httpx.TimeoutException)
        reason = "no answer came within the deadline" if slow else (str(error) or type(error).__name__)
        hint = "" if slow else "; is the server of this URL running? GET /health/live tells"
        super().__init__(f"{method} {url}: {reason}{hint}")


def told(answer: httpx.Response, *expected: int) -> str:
    """Put a request and the answer to it into words."""
    request = answer.request
    wanted = " or ".join(str(status) for status in expected)
    asked = [f"{name}: {_shown(name, value)}" for name, value in request.headers.items() if _sent_by_us(name)]
    got = [f"{name}: {answer.headers[name]}" for name in TELLING_HEADERS if name in answer.headers]
    return "\n".join(
        [
            f"{request.method} {request.url}: expected {wanted}, got {answer.status_code} {answer.reason_phrase}",
            *(f"  > {line}" for line in [*asked, *_lines(request.content)]),
            *(f"  < {line}" for line in [*got, *_lines(answer.content)]),
            *([f"  {_nearest(request)}"] if answer.status_code in {404, 405} else []),
        ]
    )


def _nearest(request: httpx.Request) -> str:
    """What the service has instead; imported only where somebody missed it."""
    from test_framework.routes import hint, routes_of_dev

    return hint(request.method, request.url.path, routes_of_dev())


def _sent_by_us(name: str) -> bool:
    return name not in {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length"}


def _shown(name: str, value: str) -> str:
    return "(not shown)" if name in SECRET_HEADERS else value


def _lines(content: bytes) -> list[str]:
    text = content.decode(errors="replace")
    more = f"… {len(text) - LONGEST_BODY} more characters"
    return [*text[:LONGEST_BODY].splitlines(), *([more] if len(text) > LONGEST_BODY else [])]
