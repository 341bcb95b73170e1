"""One HTTP call of a report, with an error that names the call and what the server answered."""

from __future__ import annotations

import urllib.error
import urllib.request

SHOWN_BYTES = 300


def call(request: urllib.request.Request, timeout: float, failure: type[Exception], hint: str = "") -> bytes:
    """Return the body of the answer; raise `failure` if there is none, or one that refuses, which the hint explains."""
    name = f"{request.get_method()} {request.full_url}"
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(SHOWN_BYTES).decode(errors="replace")
        raise failure(f"{name} was answered {error.code}: {said}{hint}") from None
    except OSError as error:
        raise failure(f"{name} failed: {error}") from None
