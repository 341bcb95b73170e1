"""The dashboard: one HTML file that opens from disk, makes no request, and draws a `Report`.

Its scripts stand here as they are read, in the order of `SCRIPTS`; `render` puts them, the style and the data into one file.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from test_framework.reporting.model import Report

HERE = Path(__file__).parent
SCRIPTS = ("dom", "charts", "rows", "verdict", "failures", "history", "measures", "evidence", "main")

# of a test the page shows its end, its times and its worker; what fell is told in `failures`
SHOWN_OF_A_RESULT = ("id", "outcome", "setup", "call", "teardown", "worker", "reason", "quarantined")


def render(report: Report) -> str:
    """Return the page of a report."""
    template = (HERE / "index.html").read_text(encoding="utf-8")
    style = (HERE / "style.css").read_text(encoding="utf-8")
    script = "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    before, _, after = template.partition("{}")
    return f"{before}{_data(report)}{after}".replace("/* style */", style, 1).replace("/* script */", script, 1)


def _data(report: Report) -> str:
    results = {"results": {"__all__": set(SHOWN_OF_A_RESULT)}}
    everything = TypeAdapter(Report).dump_json(report, exclude={"results"}).decode()
    shown = TypeAdapter(Report).dump_json(report, include=results).decode()
    # a closing tag inside a text would end the data: JSON may write its slash's neighbour otherwise
    return f"{everything[:-1]},{shown[1:]}".replace("<", "\\u003c")
