"""Files that are edited while the engine runs: what an edit does not concern keeps its tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.pools.identity import Identity, person, route
from tests.pools.test_logins import ask, who
from tests.security.stage import Staged, staged

pytestmark = pytest.mark.timeout(90)

TEXT = route(value="persist: true", more="timeouts: { total: 100s }\n")


def write(path: Path, text: str) -> None:
    """As editors do: a new file in the old one's place."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


async def noticed(on: Staged, before: str) -> None:
    """The watcher has taken the route in."""
    for _ in range(400):
        if state(on) != before:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the edit was not noticed")


def state(on: Staged) -> str:
    return next(iter(on.gateway.keeper.states.values())).sha256


@pytest.mark.parametrize("watch", ["auto", "off"])
async def test_an_edit_touches_what_it_concerns_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: str
) -> None:
    routes, identity = tmp_path / "routes", Identity()
    routes.mkdir()
    people = [person(number) for number in range(3)]
    (routes / "accounts.jsonl").write_text("".join(people))
    over = {"watch": watch}
    async with staged(tmp_path, monkeypatch, {"people": TEXT}, echo=identity, overrides=over) as on:

        async def edit(name: str, text: str) -> None:
            before = state(on)
            write(routes / name, text)
            if watch == "off":
                await on.gateway.keeper.rescan()
            await noticed(on, before)

        await who(on, 3)
        identity.refuses.add("p2@example.com")
        identity.expire("p2@example.com")
        assert sorted(set(await who(on, 4))) == ["p0", "p1"]  # p2 is parked
        before = dict(identity.logins)

        timeouts = (routes / "people.yaml").read_text().replace("total: 100s", "total: 99s")
        await edit("people.yaml", timeouts)
        assert sorted(set(await who(on, 4))) == ["p0", "p1"]
        assert dict(identity.logins) == before

        identity.refuses.clear()
        people[2] = '{"email": "p2@example.com", "password": "word of p2@example.com", "n": 2}\n'
        await edit("accounts.jsonl", "".join(people))
        assert sorted(await who(on, 3)) == ["p0", "p1", "p2"]
        assert dict(identity.logins) == {**before, "p2@example.com": 2}

        await edit("accounts.jsonl", "".join([person(3), *people[:2]]))
        assert sorted(await who(on, 3)) == ["p0", "p1", "p3"]
        assert identity.logins.total() == 5


@pytest.mark.rows("K2-16")
async def test_a_file_with_a_bad_line_leaves_the_accounts_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes, identity = tmp_path / "routes", Identity()
    routes.mkdir()
    (routes / "accounts.jsonl").write_text(person(0) + person(1))
    async with staged(tmp_path, monkeypatch, {"people": TEXT}, echo=identity) as on:
        await who(on, 2)
        write(routes / "accounts.jsonl", person(0) + '{"email": "p1@exam')
        await on.gateway.keeper.rescan(force=True)
        (found,) = on.gateway.keeper.states.values()
        assert found.state == "stale"
        told = [str(problem) for problem in found.problems]
        assert [text.partition("accounts.jsonl")[2] for text in told] == [
            ":2:1: error E207: this line is not JSON"
        ]
        assert sorted(await who(on, 2)) == ["p0", "p1"]
        assert isinstance(await ask(on), dict)
        assert identity.logins.total() == 2
