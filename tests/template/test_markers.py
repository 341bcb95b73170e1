"""What stands between the markers is the template's own, and goes; all else stays to the byte."""

from __future__ import annotations

import pytest

from cos_scaffold.live_files import project_files
from cos_scaffold.markers import UnbalancedMarkerError, strip
from tests.template.workbench import ROOT


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("# >>> template only", "# <<< template only"),
        ("    # >>> template only", "    # <<< template only"),
        ("// >>> template only", "// <<< template only"),
        ("-- >>> template only", "-- <<< template only"),
        ("<!-- >>> template only -->", "<!-- <<< template only -->"),
    ],
)
def test_a_passage_goes_with_its_markers(opening: str, closing: str) -> None:
    assert strip(f"before\n{opening}\ngone\n\ngone\n{closing}\nbehind\n") == "before\nbehind\n"


@pytest.mark.parametrize("comment", ["# template only", "// template only", "<!-- template only -->"])
def test_a_marked_line_goes_alone(comment: str) -> None:
    assert strip(f"before\ngone {comment}\nbehind") == "before\nbehind"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no marker\n",
        "no end of line",
        "# this is template only in prose\n",
        "# template only\n",
        'marker = "# >>> template only"\n',
        "the words `# template only` in a sentence\n",
        "windows\r\nand \x0c form feeds \u2028 stay\r\n",
    ],
)
def test_a_text_that_only_speaks_of_markers_stays(text: str) -> None:
    assert strip(text) == text


def test_two_passages_are_two() -> None:
    passage = "# >>> template only\ngone\n# <<< template only\n"

    assert strip(f"{passage}kept\n{passage}") == "kept\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n# >>> template only\nb\n", 2),
        ("a\nb\n# <<< template only\n", 3),
        ("# >>> template only\n# >>> template only\n# <<< template only\n", 2),
    ],
)
def test_a_marker_without_its_counterpart_is_named_by_its_line(text: str, line: int) -> None:
    with pytest.raises(UnbalancedMarkerError, match=f"conf.toml:{line}: "):
        strip(text, "conf.toml")


def test_every_marker_of_this_repository_is_understood() -> None:
    left_over = []
    for name in project_files(ROOT):
        text = strip((ROOT / name).read_bytes().decode(errors="surrogateescape"), name)
        left_over += [f"{name}: {line}" for line in text.splitlines() if "template only" in line]

    assert left_over == []
