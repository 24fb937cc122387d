"""Methods that an endpoint has, and those that it has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.stage import CHAT, KEY, staged

ROUTE = """
version: 1
dialect: openai_chat
base_url: %URL%
models: [m1]
"""
OWN = {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/v1/models", "/api/version"])
async def test_what_is_read_by_get_may_be_asked_for_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Monitors and `wget --spider` ask so (RFC 9110 §9.3.2)."""
    async with staged(tmp_path, monkeypatch, {"r": ROUTE}) as on:
        status, got = await on.call("GET", path, headers=OWN)
        answered, head = await on.call("HEAD", path, headers=OWN)
    assert (200, 200, "") == (status, answered, head.partition("\n\n")[2])
    length = len(got.partition("\n\n")[2].encode())
    assert f"Content-Length: {length}\n" in head


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_a_method_that_is_not_there_is_told_which_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async with staged(tmp_path, monkeypatch, {"r": ROUTE}) as on:
        status, answer = await on.call(method, CHAT, headers=OWN)
    assert (405, True) == (status, "\nAllow: POST\n" in answer)
