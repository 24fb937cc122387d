"""One gateway and one stub for each module of client tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .ways import Way, ways


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_ways(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Way]]:
    async with ways(tmp_path_factory.mktemp("gateway")) as found:
        yield found
