"""Errors of a model's endpoint, in words for users.

The text of the endpoint itself is never shown: it may quote a key, an address or a stack trace.
"""

from __future__ import annotations

import re

from pydantic_ai import exceptions as failures

from app.agents.model import ModelError

SAFE_CODE = re.compile(r"[a-z][a-z0-9_]{2,40}")

TRANSIENT = (
    failures.ModelRateLimitError,
    failures.ModelUnavailableError,
    failures.ModelServerError,
    failures.ModelConnectionError,
)

REASONS: tuple[tuple[type[Exception], str], ...] = (
    (failures.ModelAuthenticationError, "its endpoint refused the key: check APP_MODEL_KEY"),
    (failures.ModelNotFoundError, "its endpoint doesn't serve it: check APP_MODEL_NAME and APP_MODEL_URL"),
    (failures.ModelContextWindowExceededError, "the conversation is longer than it can read"),
    (failures.ModelQuotaExceededError, "the quota at its endpoint is used up"),
    (failures.ModelRateLimitError, "its endpoint is asked too often"),
    (failures.ModelUnavailableError, "its endpoint is overloaded"),
    (failures.ModelServerError, "its endpoint failed"),
    (failures.ModelConnectionError, "its endpoint can't be reached: check APP_MODEL_URL"),
    (failures.ModelHTTPError, "its endpoint refused the request"),
    (failures.ContentFilterError, "its provider blocked the answer"),
    (failures.OutputTokenLimitExceeded, "its answer was cut off before it was complete"),
)


class EndpointError(ModelError):
    """A failed request; a `transient` error may succeed on a retry, after `wait` seconds."""

    def __init__(self, message: str, *, transient: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.transient = transient
        self.wait = wait


def explain(error: Exception, model: str) -> EndpointError:
    """Return why a model gave no answer, and whether a retry may help."""
    reason = next(
        (words for kind, words in REASONS if isinstance(error, kind)), "what its endpoint answered can't be understood"
    )
    wait = error.retry_after if isinstance(error, failures.ModelAPIError) else None
    return EndpointError(
        f"{model} gave no answer: {reason}{_evidence(error)}", transient=isinstance(error, TRANSIENT), wait=wait or 0.0
    )


def _evidence(error: Exception) -> str:
    if not isinstance(error, failures.ModelAPIError):
        return f" ({type(error).__name__})"
    status = str(error.status_code) if isinstance(error, failures.ModelHTTPError) else ""
    code = error.provider_error_code or ""
    words = [word for word in (status, code if SAFE_CODE.fullmatch(code) else "") if word]
    return f" ({' '.join(words)})" if words else ""
