"""One browser, with gateway and pages, for each module.

A browser is large: only `make test-clients`, which installs one, runs these.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .world import World, world

collect_ignore_glob = [] if os.environ.get("PENSTOCK_TEST_CLIENTS") == "1" else ["test_*.py"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("browser")) as made:
        yield made
