"""Who gets in: every endpoint, method and form of a credential, out of the server's own table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.stage import CHAT, KEY, Staged, staged

ADMIN = "adm-stake-8fK2pQ7xZt"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = {"/", "/health", "/v1/health", "/healthz", "/__healthz", "/ready", "/readyz", "/metrics"}
ROUTE = "version: 1\nbase_url: %URL%/v1\ndialect: openai_chat\nmodels: [m]\n"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "mode:good"}]}).encode()
NAMED = {("GET", "/v1/models/"), ("GET", "/v1/responses/"), ("DELETE", "/v1/responses/")}
# Forms that are tried where there is nothing, too.
ANYWHERE = {"none", "wrong in Authorization", "of the other door in x-api-key"}
ELSEWHERE = ("/v1/models/m", "/v1/nothing", "/admin", "/admin/nothing", "/v1/chat/completions/")

Sent = tuple[str, list[tuple[str, str]]]  # what follows the path, and headers


def wrong(key: str, other: str) -> Iterator[tuple[str, Sent]]:
    """Every way not to say `key`; `other` opens something else."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    texts = {
        "empty": "",
        "wrong": "sk-wrong-0123456789abcdef",
        "prefix": key[:-1],
        "longer": key + "x",
        "case": key.swapcase(),
        "padded inside": f"{key[:4]} {key[4:]}",
        "quoted": f'"{key}"',
        "twice": f"{key} {key}",
        "listed": f"{key},{key}",
        "a null": "null",
        "a star": "*",
        "unicode": key.replace("k", "\u212a", 1),
        "lookalike": key.replace("a", "\u0430", 1),
        "percent": key.replace("-", "%2D"),
        "its hash": f"sha256:{digest}",
        "its bare hash": digest,
        "of the other door": other,
        "long": "a" * 7000,
    }
    yield "none", ("", [])
    for name, text in texts.items():
        for header, shown in (
            ("Authorization", f"Bearer {text}"),
            ("x-api-key", text),
            ("x-goog-api-key", text),
        ):
            yield f"{name} in {header}", ("", [(header, shown)])
    for scheme in ("Basic", "Token", "ApiKey", "Bearer:", "BearerX", ""):
        yield f"scheme {scheme}", ("", [("Authorization", f"{scheme} {key}".strip())])
    for place in ("key", "api_key", "access_token", "token"):
        yield f"in the query as {place}", (f"?{place}={key}", [])
        yield (
            f"in a cookie as {place}",
            ("", [("Cookie", f"{place}={key}; Authorization=Bearer {key}")]),
        )
    for header in ("Proxy-Authorization", "X-Forwarded-Authorization", "X-Admin-Key", "Api-Key"):
        yield f"in {header}", ("", [(header, f"Bearer {key}")])
    bad = ("Authorization", "Bearer sk-wrong-0123456789abcdef")
    yield "wrong before right", ("", [bad, ("Authorization", f"Bearer {key}")])
    yield "wrong beside right", ("", [bad, ("x-api-key", key)])


def table(on: Staged) -> list[str]:
    """All paths of the server, and some it does not have."""
    known = {path for _, path in on.gateway.server._handlers}
    return [*sorted(known), *ELSEWHERE]


def right(key: str) -> Iterator[tuple[str, Sent]]:
    yield "bearer", ("", [("Authorization", f"Bearer {key}")])
    yield "lower case", ("", [("authorization", f"bearer {key}")])
    yield "padded", ("", [("Authorization", f"Bearer   {key}  ")])
    yield "x-api-key", ("", [("x-api-key", key)])
    yield "x-goog-api-key", ("", [("x-goog-api-key", key)])


def judged(on: Staged, method: str, path: str) -> int:
    """The status without a credential: what is public, what is closed, what is not there."""
    handlers = on.gateway.server._handlers
    if method == "HEAD" and ("GET", path) in handlers:
        method = "GET"
    if path in PUBLIC and (method, path) in handlers:
        return 200
    named = (method, path.rpartition("/")[0] + "/")  # one model, one kept answer
    if (method, path) in handlers or named in NAMED:
        return 401
    return 405 if any(path == known for _, known in handlers) else 404


@pytest.mark.rows("KB-5", "KB-16", "K2-02", "IB-1")
async def test_nobody_without_the_key_gets_in_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(
        tmp_path, monkeypatch, {"one": ROUTE}, overrides={"admin.key": ADMIN, "log.level": "error"}
    ) as on:
        count, surprises = 0, []
        for path in table(on):
            key, other = (ADMIN, KEY) if path.startswith("/admin") else (KEY, ADMIN)
            for method in METHODS:
                wanted = judged(on, method, path)
                for form, (tail, headers) in wrong(key, other):
                    if wanted in (404, 405) and form not in ANYWHERE:
                        continue
                    status, text = await on.call(method, path + tail, BODY, headers)
                    count += 1
                    good = status == wanted and (method == "HEAD" or told(path, status, text))
                    if not good:
                        surprises.append((method, path, form, status, wanted, text[-200:]))
        assert surprises == []
        assert count >= 2500
        assert on.echo.asked == []


def told(path: str, status: int, text: str) -> bool:
    """An error has the body of the endpoint's dialect, and names no key."""
    if status == 200:
        return True
    body = json.loads(text.partition("\n\n")[2])
    error = body["error"]
    kept = KEY not in text and ADMIN not in text and "\u212a" not in text
    if path.startswith("/api/"):
        return kept and isinstance(error, str) and bool(error)
    if path.startswith("/v1beta") or "status" in error:  # the header x-goog-api-key tells who asks
        named = error["status"] == "UNAUTHENTICATED" if status == 401 else bool(error["status"])
        return kept and named and error["code"] == status and bool(error["message"])
    typed = error["type"] == "authentication_error" if status == 401 else bool(error["type"])
    if path.startswith("/v1/messages"):
        return kept and typed and body["type"] == "error" and bool(error["message"])
    code = error["code"] == "invalid_api_key" if status == 401 else True
    return kept and typed and code and bool(error["message"])


async def test_the_key_opens_its_own_doors_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"admin.key": ADMIN}
    async with staged(tmp_path, monkeypatch, {"one": ROUTE}, overrides=overrides) as on:
        for form, (tail, headers) in right(KEY):
            for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/m")):
                status, _ = await on.call(method, path + tail, BODY, headers)
                assert (form, path, status) == (form, path, 200)
            status, _ = await on.call("GET", "/admin/routes", None, headers)
            assert (form, status) == (form, 401)
        for form, (_, headers) in right(ADMIN):
            for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/m")):
                status, _ = await on.call(method, path, BODY, headers)
                assert (form, path, status) == (form, path, 401)
            assert (await on.call("GET", "/admin/routes", None, headers))[0] == 200
            assert (await on.call("POST", "/admin/reload", None, headers))[0] == 400
            asked = [*headers, ("X-Penstock-Admin", "1")]
            assert (await on.call("POST", "/admin/reload", None, asked))[0] == 200
        assert len(on.echo.asked) == 5


async def test_a_key_kept_as_a_hash_is_opened_by_the_key_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    overrides = {"clients.keys": [written]}
    async with staged(tmp_path, monkeypatch, {"one": ROUTE}, overrides=overrides) as on:
        assert (await on.ask("m", "mode:good"))[0] == 200
        for key in (written, written.removeprefix("sha256:"), written.upper()):
            assert (await on.ask("m", "mode:good", key=key))[0] == 401


@pytest.mark.rows("KB-5", "IB-1")
async def test_without_an_admin_key_there_is_no_admin_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch, {"one": ROUTE}) as on:
        for method in METHODS:
            for key in ("", KEY, ADMIN):
                headers = {"Authorization": f"Bearer {key}", "X-Penstock-Admin": "1"}
                assert (await on.call(method, "/admin/routes", None, headers))[0] == 404


HOSTS = {
    "127.0.0.1": True, "127.0.0.1:8080": True, "localhost": True, "LOCALHOST:80": True,
    "api.localhost": True, "[::1]": True, "[::1]:8080": True, "127.1.2.3": True,
    "listed.example": True, "listed.example:443": True, "Listed.Example": True,
    "evil.example": False, "evil.example:8080": False, "127.0.0.1.evil.example": False,
    "localhost.evil.example": False, "127.0.0.1.nip.io": False, "localhost.": False,
    "0.0.0.0": False, "[::]": False, "169.254.169.254": False, "10.0.0.1": False,
    "2130706433": False, "0x7f.1": False, "listed.example.evil.example": False,
    "notlisted.example": False, "evil.example#localhost": False, "user@evil.example": False,
    "[::ffff:10.0.0.1]": False, "xlocalhost": False, "evil.example:localhost": False,
}  # fmt: skip
ORIGINS = {
    "http://localhost:3000": True, "http://127.0.0.1": True, "https://[::1]:1": True,
    "https://web.example": True, "https://app.localhost": True,
    "https://evil.example": False, "http://web.example": False, "https://web.example:8443": False,
    "https://web.example.evil.example": False, "https://localhost.evil.example": False,
    "https://evil.example/localhost": False, "https://127.0.0.1.evil.example": False,
    "https://localhost@evil.example": False, "https://xweb.example": False, "evil.example": False,
    "https://evil.example https://web.example": False, "file://": False, "https://": False,
    "chrome-extension://abcdef": False, "https://localhost:80@evil.example": False, "null": False,
}  # fmt: skip


async def test_a_page_of_another_site_gets_nothing_from_a_loopback_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {
        "hosts": ["listed.example"],
        "cors.origins": ["https://web.example"],
        "clients.keys": [],
        "clients.auth": "none",
    }
    async with staged(tmp_path, monkeypatch, {"one": ROUTE}, overrides=overrides) as on:
        cases = [({"Host": host}, good) for host, good in HOSTS.items()]
        cases += [({"Origin": origin}, good) for origin, good in ORIGINS.items()]
        cases += [({"Host": "evil.example", "Origin": "http://localhost"}, False)]
        cases += [({"Host": "localhost", "Origin": "https://evil.example"}, False)]
        found = {}
        for headers, good in cases:
            for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/healthz")):
                status, _ = await on.call(method, path, BODY, headers)
                if (status == 200) != good or status not in (200, 403):
                    found[method, path, str(headers)] = status
        assert found == {}
        assert len(on.echo.asked) == sum(good for _, good in cases)
