"""Building the service's image beside another checkout that clears its own away: the classic builder's layers are everybody's."""

from __future__ import annotations

import pytest

from test_framework.services.replicas import BUILDS, Replicas
from test_framework.services.stack import Stack
from test_framework.services.state import ServiceError

LAYER = f"sha256:{'0f' * 32}"
TAKEN = [
    f"failed to export image: failed to set parent {LAYER}: unknown parent image ID {LAYER}",
    f"failed to get digest {LAYER}: open /var/lib/docker/image/overlay2/imagedb/content/sha256/0f: no such file or directory",
    f'failed to get destination image "{LAYER}": No such image: {LAYER}',
]


class Builder(Replicas):
    """One whose builds fail with these words, one after another, and then no more."""

    def __init__(self, *failures: str) -> None:
        super().__init__(Stack.of_a_run())
        self.failures = list(failures)

    def run(self, *arguments: str, seconds: float) -> None:
        if self.failures:
            raise ServiceError("compose build app failed", self.failures.pop(0), "invoke doctor")


@pytest.mark.parametrize("said", TAKEN)
def test_a_build_whose_layer_was_taken_is_made_again(said: str) -> None:
    builder = Builder(*[said] * (BUILDS - 1))

    builder.build()

    assert builder.failures == []


@pytest.mark.parametrize("said", TAKEN)
def test_it_is_given_up_in_the_end(said: str) -> None:
    builder = Builder(*[said] * (BUILDS + 1))

    with pytest.raises(ServiceError, match=r"can't be built: failed to .*\n.*docker build \."):
        builder.build()

    assert len(builder.failures) == 1


def test_one_that_fails_for_another_reason_is_not_made_again() -> None:
    builder = Builder("The command '/bin/sh -c false' returned a non-zero code: 1", "never heard")

    with pytest.raises(ServiceError, match="non-zero code: 1"):
        builder.build()

    assert builder.failures == ["never heard"]
