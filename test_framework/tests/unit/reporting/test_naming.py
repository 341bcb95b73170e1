"""Names: unlike on a desk, and in CI alike for what belongs together."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_framework.reporting.circumstances import command_line, of_the_code
from test_framework.reporting.naming import RunName, make_place, name_run

CI = {"GITHUB_RUN_ID": "77", "GITHUB_JOB": "integration (3.11)", "GITHUB_RUN_ATTEMPT": "2"}


def test_runs_on_a_desk_are_never_called_alike() -> None:
    names = {name_run({}, 1_790_000_000.0, mode="lightweight", provider="").run for _ in range(20)}

    assert len(names) == 20


def test_the_shards_of_a_job_share_a_run_and_no_folder() -> None:
    one, two = (
        name_run(CI, 0.0, mode="integration", provider=provider, shard=shard)
        for provider, shard in (("compose", "1/2"), ("auto", "2/2"))
    )

    assert one.run == two.run
    assert one.folder == f"{one.run}.s1of2.a2"
    assert one.folder != two.folder


def test_jobs_of_other_modes_are_other_runs() -> None:
    one, two = (name_run(CI, 0.0, mode=mode, provider="") for mode in ("lightweight", "full"))

    assert one.run != two.run


@pytest.mark.parametrize("shard", ["", "x/2", "2", "-1/2"])
def test_what_is_no_shard_is_the_whole(shard: str) -> None:
    named = name_run({}, 0.0, mode="full", provider="", shard=shard)

    assert (named.shard, named.shards) == (1, 1)


def test_a_second_run_of_a_name_gets_a_place_of_its_own(tmp_path: Path) -> None:
    (one, first), (two, second) = (make_place(tmp_path, RunName("ci-1")) for _ in range(2))

    assert (one.run, two.run) == ("ci-1", "ci-1-2")
    assert first != second


def test_no_secret_stays_in_the_command() -> None:
    line = command_line(["--password=geheim", "--api-key", "geheim", "postgresql://ada:geheim@host/db", "-k", "token"])

    assert "geheim" not in line
    assert "host/db" in line
    assert line.endswith("-k token")


def test_outside_of_git_nothing_is_claimed(tmp_path: Path) -> None:
    assert of_the_code(tmp_path / "nowhere") == {}
