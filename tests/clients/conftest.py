"""One gateway and its stubs for each module of client tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .everywhere import World, everywhere
from .ways import Way, ways


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_ways(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Way]]:
    async with ways(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """All upstreams; at the module's end no answer may have been out of order."""
    async with everywhere(tmp_path_factory.mktemp("gateway")) as made:
        yield made
        assert made.witness.judged > 0
        assert [] == made.witness.complaints
