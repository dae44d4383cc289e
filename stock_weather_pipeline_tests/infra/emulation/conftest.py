"""An empty emulated account for each test, and the clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.emulation import EmulatedAws, emulated_aws


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedAws]:
    with emulated_aws() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running
