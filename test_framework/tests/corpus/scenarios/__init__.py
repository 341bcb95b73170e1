"""Everything that is broken for the corpus, by what it is about."""

from __future__ import annotations

from test_framework.tests.corpus.scenarios import code, data, loops, machine, python, redis, services, tests, traffic

SCENARIOS = (
    *redis.SCENARIOS,
    *data.SCENARIOS,
    *services.SCENARIOS,
    *machine.SCENARIOS,
    *traffic.SCENARIOS,
    *loops.SCENARIOS,
    *python.SCENARIOS,
    *code.SCENARIOS,
    *tests.SCENARIOS,
)
