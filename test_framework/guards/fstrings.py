"""F-strings that Python 3.12 and later accept and 3.11 refuses.

Until 3.11 an f-string was one token like any other string: it ended at the first quote of its own kind, wherever that
stood, and its expressions could hold neither a backslash nor a comment. Newer parsers read the expressions on their
own and see no fault, so here their tokens are checked against the old rule. On 3.11 the parser refuses by itself.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

MAY_HOLD_ONE = re.compile(r"""(?i)\b(?:f|rf|fr)['"]""")

HAVE_TOKENS_OF_THEIR_OWN = hasattr(tokenize, "FSTRING_START")


@dataclass
class _Open:
    """An f-string whose end has not come yet, and how deep we stand in the braces of its expressions."""

    quote: str
    depth: int = 0
    expression_line: int = 0


def refused_before_3_12(text: str) -> Iterator[tuple[int, str]]:
    """Find f-strings that only Python 3.12 and later can read: their line and the reason."""
    if HAVE_TOKENS_OF_THEIR_OWN and MAY_HOLD_ONE.search(text):
        yield from _walk(text)


def _walk(text: str) -> Iterator[tuple[int, str]]:
    start, end = getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "FSTRING_END", -1)
    middle = getattr(tokenize, "FSTRING_MIDDLE", -1)
    around: list[_Open] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == end:
            around.pop()
            continue
        if token.type != middle:
            yield from ((token.start[0], why) for why in _refusals(token, around))
        if token.type == start:
            around.append(_Open(token.string.lstrip("rRfF"), expression_line=token.start[0]))
        elif around and token.type == tokenize.OP:
            _follow_braces(token, around[-1])


def _follow_braces(token: tokenize.TokenInfo, inner: _Open) -> None:
    if token.string == "{":
        inner.depth += 1
        inner.expression_line = token.start[0]
    elif token.string == "}":
        inner.depth -= 1


def _refusals(token: tokenize.TokenInfo, around: list[_Open]) -> Iterator[str]:
    within = [outer for outer in around if outer.depth]
    if not within:
        return
    if token.type == tokenize.COMMENT:
        yield "a comment inside an f-string's braces"
        return
    if "\\" in token.string:
        yield "a backslash inside an f-string's braces"
    for outer in within:
        if outer.quote in token.string:
            yield f"the quote {outer.quote} inside the braces of an f-string that began with it"
        elif len(outer.quote) == 1 and token.end[0] > outer.expression_line:
            yield "a line break inside the braces of an f-string in single quotes"
