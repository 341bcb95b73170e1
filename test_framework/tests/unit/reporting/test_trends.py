"""A planted regression is seen, noise is not: over hundreds of made-up histories."""

from __future__ import annotations

import random

import pytest

from test_framework.reporting.trends import RECENT, Floors, judge

SEEDS = range(400)
FLOORS = Floors(absolute=1.0)


def history(seed: int, noise: float, runs: int = 40, regression: float = 1.0, since: int = 6) -> list[float | None]:
    """Seconds of a suite that takes 60; now and then the machine is busy with something else."""
    dice = random.Random(seed)
    values: list[float | None] = []
    for number in range(runs):
        factor = regression if number >= runs - since else 1.0
        busy = 1.6 if dice.random() < 0.04 and number < runs - since else 1.0
        values.append(60 * factor * busy * dice.lognormvariate(0, noise))
    return values


def seen(noise: float, regression: float) -> float:
    """The share of histories in which the last run raises the alarm."""
    return sum(judge("s", "s", "s", history(seed, noise, regression=regression), FLOORS).worse for seed in SEEDS) / len(
        SEEDS
    )


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_thirty_percent_more_is_seen(noise: float) -> None:
    assert seen(noise, 1.3) >= 0.97


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1, 0.2])
def test_noise_is_not(noise: float) -> None:
    assert seen(noise, 1.0) <= 0.005


def test_five_percent_more_is_nobodys_business() -> None:
    assert seen(0.03, 1.05) <= 0.005


def test_one_slow_run_or_four_are_not_sustained() -> None:
    for slow in range(1, RECENT):
        assert not judge("s", "s", "s", [60.0] * 30 + [120.0] * slow, FLOORS).worse
    assert judge("s", "s", "s", [60.0] * 30 + [120.0] * RECENT, FLOORS).worse


def test_little_time_is_little_however_large_the_share() -> None:
    assert not judge("s", "s", "s", [0.2] * 30 + [0.9] * RECENT, FLOORS).worse


def test_a_little_past_is_called_not_enough() -> None:
    found = judge("s", "s", "s", [60.0] * 12, FLOORS)

    assert not found.worse
    assert found.reason == "not enough data: 12 of 13 runs"


def test_runs_that_measured_nothing_are_passed_over() -> None:
    values: list[float | None] = [60.0, None] * 20 + [90.0, None] * RECENT

    found = judge("s", "s", "s", values, FLOORS)

    assert (found.worse, found.baseline, found.recent, found.change) == (True, 60.0, 90.0, 0.5)
    assert len(found.values) == len(values)
