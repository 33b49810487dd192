"""Fixtures that several areas share."""

from collections.abc import AsyncIterator

import pytest
from fakeapi import FakeApi, running_fake
from paradedb_runner.kube.api import Api


@pytest.fixture
async def served() -> AsyncIterator[tuple[FakeApi, Api]]:
    async with running_fake() as both:
        yield both
