"""The admin API is what its description says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.errors import RequestError
from engine.shell.admin_paths import OPERATIONS, Operation, openapi
from tests.pools.test_logins import who
from tests.security.stage import KEY as CLIENT
from tests.shell.admin_stage import KEY, Desk, desk

DOCS = Path(__file__).parents[2] / "docs"
AT = {operation.place: operation for operation in OPERATIONS}

pytestmark = pytest.mark.timeout(90)


def test_the_description_is_the_one_that_is_committed() -> None:
    """If not: `penstock schema --admin > docs/admin-openapi.json`."""
    assert openapi() == json.loads((DOCS / "admin-openapi.json").read_text())


def test_every_path_has_its_row_in_the_docs() -> None:
    page = (DOCS / "operations.md").read_text()
    assert [place for place in AT if f"| `{' '.join(place)}` |" not in page] == []


def test_every_schema_of_it_is_one() -> None:
    for operation in OPERATIONS:
        jsonschema.Draft202012Validator.check_schema(operation.answer)
        for schema, _ in (*operation.query.values(), *operation.body.values()):
            jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.rows("IF-07")
async def test_every_answer_fits_its_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        await who(at.on, 3)
        ident = (await at.pool())["p0@example.com"]["account"]
        sent: dict[str, dict[str, Any]] = {
            "/admin/accounts/park": {"route": "people", "account": ident},
            "/admin/accounts/revive": {"route": "people"},
            "/admin/accounts/refresh": {"route": "people"},
            "/admin/accounts/add": {"route": "keyed", "accounts": ["flo_third_key", 3]},
            "/admin/accounts/remove": {"route": "keyed"},
            "/admin/accounts/export": {"route": "keyed"},
            "/admin/sessions": {"route": "keyed"},
        }
        await at.on.ask("keyed", "hi", user="ada")
        sent["/admin/sessions/delete"] = {"route": "keyed", "session": "ada"}
        for method, path in AT:
            if path == "/admin/tools/execute":
                continue  # there are no servers here: tests/shell/test_mcp_tools.py
            ask = at.get if method == "GET" else at.post
            answer = await ask(path.removeprefix("/admin/"), **sent.get(path, {}))
            assert isinstance(answer, dict), (path, answer)
            jsonschema.validate(answer, AT[method, path].answer)
        assert await at.get("openapi.json") == openapi()


@pytest.mark.rows("IF-07", "FL-33", "FL-34")
async def test_statistics_count_from_the_last_reset_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        await who(at.on, 3)
        at.identity.refuses.update(f"p{number}@example.com" for number in range(3))
        at.identity.expire()
        await who(at.on, 1)
        told = await at.get("statistics")
        people = told["routes"]["people"]
        assert (people["requests"], people["ok"], people["success_rate"]) == (4, 3, 0.75)
        assert people["average_seconds"] > 0
        await at.post("statistics/reset")
        people = (await at.get("statistics"))["routes"]["people"]
        assert people == {
            "requests": 0, "ok": 0, "success_rate": None, "average_seconds": None,
        }  # fmt: skip


@pytest.mark.rows("K2-32")
async def test_metrics_tell_how_many_accounts_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, monkeypatch) as at:
        at.identity.refuses.add("p1@example.com")
        await who(at.on, 3)
        _, page = await at.on.call("GET", "/metrics")
        lines = [line for line in page.splitlines() if line.startswith("penstock_accounts")]
        assert lines == [
            'penstock_accounts{route="keyed",state="free"} 2.0',
            'penstock_accounts{route="keyed",state="parked"} 0.0',
            'penstock_accounts{route="people",state="free"} 2.0',
            'penstock_accounts{route="people",state="parked"} 1.0',
            'penstock_accounts_parked_total{route="people",why="login"} 1.0',
        ]


# ---- what is sent ----


@pytest.mark.parametrize(
    ("place", "query", "body", "message"),
    [
        (("POST", "/admin/accounts/park"), {}, b"{", "the body is not JSON"),
        (("POST", "/admin/accounts/park"), {}, b"[]", "the body must be a JSON object"),
        (("POST", "/admin/accounts/park"), {}, b"", "`route` is missing"),
        (("POST", "/admin/accounts/park"), {}, b'{"route":"a"}', "`account` is missing"),
        (("POST", "/admin/accounts/park"), {}, b'{"rout":"a"}', "unknown field `rout`"),
        (("POST", "/admin/accounts/park"), {}, b'{"seconds":"1"}', "`seconds` must be of type"),
        (("POST", "/admin/accounts/park"), {}, b'{"seconds":true}', "`seconds` must be of type"),
        (("POST", "/admin/accounts/add"), {}, b'{"accounts":"a"}', "`accounts` must be of type"),
        (("GET", "/admin/accounts"), {"key": "x"}, b"", "unknown field `key`"),
        (("GET", "/admin/sessions"), {}, b"", "`route` is missing"),
    ],
)
def test_what_is_sent_is_held_against_the_table(
    place: tuple[str, str], query: dict[str, str], body: bytes, message: str
) -> None:
    operation: Operation = AT[place]
    with pytest.raises(RequestError) as caught:
        operation.read(query, body)
    assert caught.value.message[: len(message)] == message


# ---- where it is ----


async def test_it_may_have_an_address_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over: dict[str, Any] = {"admin__listen.host": "127.0.0.1", "admin__listen.port": 0}
    async with desk(tmp_path, monkeypatch, **over) as at:
        assert at.url != at.on.gateway.url
        assert len((await at.get("routes"))["routes"]) == 2
        headers = {"Authorization": f"Bearer {KEY}"}
        assert (await at.on.call("GET", "/admin/routes", None, headers))[0] == 404
        assert await statuses(at) == {
            "/healthz": 200, "/v1/models": 404, "/v1/models/people": 404, "/metrics": 404,
        }  # fmt: skip


async def statuses(at: Desk) -> dict[str, int]:
    """What the admin's address says to a client of the gateway."""
    found = {}
    for path in ("/healthz", "/v1/models", "/v1/models/people", "/metrics"):
        headers = {"Authorization": f"Bearer {CLIENT}"}
        async with at.on.session.get(at.url + path, headers=headers) as answer:
            found[path] = answer.status
    return found
