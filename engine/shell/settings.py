"""The server file `penstock.yaml`: read strictly, with the mechanism that reads routes.

Whatever is wrong is a ConfigError that names file, line and key. Nothing opens by omission: a
server without client keys starts only where `auth: none` is written (or given as an option), and
keys that are empty, short or known from manuals are refused.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from engine.errors import ConfigError, Problem
from engine.options import Duration, Secret, Size, option
from engine.route.nodes import Mark, Node, read
from engine.route.reader import WRONG, Reader
from engine.route.references import Outside, Resolver

from .keys import ClientKeys, digest, weakness
from .mcp_settings import EVERYONE, McpServer, secrets_of, unknown_keys, wrong_server

__all__ = ["ClientKeys", "Settings", "check_settings", "is_loopback", "load_settings"]

GIVEN = "command line"  # stands as the file of values that an option gave
SHOWN = 'clients: { keys: ["${env:PENSTOCK_API_KEY:?set a client key}"] }'
OPEN = "clients: { auth: none }"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    host: str = option("127.0.0.1", "address to listen on; `0.0.0.0` for all of IPv4")
    port: int = option(8080, "TCP port; 0 takes a free one", example="${env:PORT:-8080}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    keys: list[Secret] = option(
        [],
        "keys clients may use, or their hashes `sha256:<hex>`; several in one text with commas",
        example=["${env:PENSTOCK_API_KEY}"],
        secret=True,
        lone=True,
    )
    file: str | None = option(None, "a file with one key or hash per line; `#` starts a comment")
    auth: Literal["keys", "none"] = option("keys", "`none`: whoever reaches the port is served")
    tools: list[Secret] = option(
        [],
        "keys (or their hashes) whose requests may have tools of `mcp` run; `*`: every client",
        secret=True,
        lone=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transforms:
    own: bool = option(True, "load transforms from the folder beside the routes, not only shipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    format: Literal["human", "json", "auto"] = option("auto", "`auto`: human on a terminal")
    level: Literal["debug", "info", "warning", "warn", "error"] = option(
        "info", "the least level written; `warn` is `warning`"
    )

    @property
    def least(self) -> Literal["debug", "info", "warning", "error"]:
        return "warning" if self.level == "warn" else self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPage:
    enabled: bool = option(True, "serve metrics for Prometheus")
    path: str = option("/metrics", "where")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    key: Secret | None = option(
        None, "key of the `/admin` paths, which are off without it", secret=True
    )
    listen: Listen | None = option(
        None, "an address of their own; default: where clients connect, beside `/v1`"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    origins: list[str] = option(
        [], "web origins whose pages may call", example=["https://chat.example.com"], lone=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    request: Size = option(Size(32 * 1024**2), "largest body of a client's request")
    header: Size = option(Size(64 * 1024), "largest head of a client's request")
    connections: int = option(
        0,
        "most connections that are open at once to one host: for each account of a pool, and for "
        "all other routes together; 0: any",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    url: Secret | None = option(
        None, "`redis://`, `rediss://` (TLS) or `unix://`", secret=True, example="${env:REDIS_URL}"
    )
    prefix: str = option("penstock", "begins every name; installations with other ones never meet")
    timeout: Duration = option(Duration(0.25), "longest wait for an answer, connecting included")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswers:
    """Answers of the Responses API that the gateway keeps for `previous_response_id`."""

    keep: Duration = option(
        Duration(3600.0), "how long an answer is kept for `previous_response_id`"
    )
    most: int = option(1000, "most answers kept of one client")
    durable: bool = option(False, "kept answers outlive the process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    version: Literal[1] = option(1, "the version of the language")
    listen: Listen = option(Listen(), "where clients connect")
    clients: Clients = option(Clients(), "who may call")
    routes: list[str] = option(
        [], "folders of route files; default: `PENSTOCK_ROUTES`, `./routes`, bundled", lone=True
    )
    transforms: Transforms = option(Transforms(), "Python beside the routes")
    state: str = option("", "folder of what outlives the process; default: the user's state folder")
    store: Literal["memory", "sqlite", "redis"] = option(
        "memory", "where sessions live by default; `redis`: everything replicas share"
    )
    responses: KeptAnswers = option(
        KeptAnswers(), "answers of the Responses API that clients may go on from"
    )
    redis: RedisServer = option(RedisServer(), "the server of `store: redis`")
    state_key: list[Secret] = option(
        [],
        "keys that encrypt what is stored, the first one writes; default: `PENSTOCK_STATE_KEY`",
        example="${env:PENSTOCK_STATE_KEY}",
        secret=True,
        lone=True,
    )
    log: Log = option(Log(), "the log, on stderr")
    metrics: MetricsPage = option(MetricsPage(), "counters and timings")
    admin: Admin = option(Admin(), "state of routes and accounts, reload")
    mcp: dict[str, McpServer] = option({}, "servers of tools for routes with `tools`, by name")
    cors: Cors = option(Cors(), "calls from web pages")
    hosts: list[str] = option(
        [], "names clients may call this server by; loopback names always may", lone=True
    )
    watch: Literal["auto", "poll", "off"] = option("auto", "how changed route files are noticed")
    limits: Limits = option(Limits(), "limits in size")
    drain: Duration = option(Duration(60.0), "how long requests may finish after SIGTERM")

    def secrets(self) -> list[Secret]:
        """All secrets in here, for the redactor."""
        found = [*self.clients.keys, *self.state_key, self.admin.key, self.redis.url]
        found += [key for key in self.clients.tools if key.reveal() != EVERYONE]
        found += secrets_of(self.mcp)
        password = urlsplit(self.redis.url.reveal()).password if self.redis.url else None
        if password:
            found += [Secret(word, "redis.url") for word in {password, unquote(password)}]
        return [secret for secret in found if secret is not None]


def load_settings(
    path: Path | None,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    notes: list[Problem] | None = None,
) -> Settings:
    """The settings of a file (None: there is none), with `overrides` over them.

    overrides  dotted keys of the file -> values that options gave: {"listen.port": 9000}; None: not
    notes      takes the warnings
    Raises ConfigError with everything that is wrong. Relative paths in the file are relative to it.
    """
    name = str(path or "penstock.yaml")
    source = None
    if path is not None:
        try:
            source = path.read_bytes()
        except OSError as error:
            why = error.strerror or error
            raise ConfigError([Problem(name, 0, 0, "E203", f"cannot read it: {why}")]) from None
    loading = _Loading(name, env, read_text=True)
    settings = loading.load(source, overrides or {})
    if notes is not None:
        notes += sorted(set(loading.problems))
    return settings


def check_settings(source: bytes, name: str, env: Mapping[str, str] | None = None) -> list[Problem]:
    """The warnings for a server file's text; raises ConfigError if it has errors.

    Variables that are not in `env` are E201; other files are not read.
    """
    loading = _Loading(name, env or {}, read_text=False)
    loading.load(source, {})
    return sorted(set(loading.problems))


def is_loopback(host: str) -> bool:
    """Whether an address or host name can only mean this machine."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class _Loading:
    """One load; its problems."""

    def __init__(self, name: str, env: Mapping[str, str], *, read_text: bool) -> None:
        self.name = name
        self.base = Path(name).parent
        self.env = env
        self.reads = read_text
        self.problems: list[Problem] = []
        self.tree = Node("map", {}, Mark(name, 0, 0))

    def load(self, source: bytes | None, overrides: Mapping[str, object]) -> Settings:
        if source is not None:
            self.tree = self._read(source)
        for dotted, value in overrides.items():
            if value is not None:
                _graft(self.tree, dotted, value)
        outside = Outside(self.env, self._text if self.reads else None)
        self.resolver = Resolver(outside, self.tree, self.problems)
        self.resolver.resolve(self.tree.walk())
        settings = Reader(self.resolver, {}, self.problems).options(self.tree, Settings, "")
        self._once_per_place()
        if settings is not WRONG:
            settings = self._checked(settings)
        self._raise_errors()
        return settings  # type: ignore[no-any-return]

    def _raise_errors(self) -> None:
        if any(problem.severity == "error" for problem in self.problems):
            raise ConfigError(sorted(set(self.problems)))

    def note(self, mark: Mark, code: str, message: str) -> None:
        self.problems.append(mark.problem(code, message))

    def _read(self, source: bytes) -> Node:
        tree = read(source, self.name, self.problems)
        if tree is None or tree.kind != "map":
            if tree is not None:
                self.note(tree.mark, "E102", "a server file is a map of keys")
            raise ConfigError(self.problems)
        if "version" not in tree.value:
            self.note(
                tree.mark, "E103", "the server file lacks the key `version`: write `version: 1`"
            )
        return tree

    def _text(self, path: str) -> str:
        try:
            return (self.base / path).read_text("utf-8")
        except UnicodeDecodeError:
            raise OSError("not UTF-8") from None

    def _once_per_place(self) -> None:
        """Where a variable is unset, that its text fits no type either is no news."""
        unset = {(p.file, p.line, p.column) for p in self.problems if p.code == "E201"}
        self.problems[:] = [
            p for p in self.problems if p.code == "E201" or (p.file, p.line, p.column) not in unset
        ]

    # ---- what the types cannot say ----

    def _checked(self, settings: Settings) -> Settings:
        for dotted, fits, message in _RULES:
            if not fits(attrgetter(dotted)(settings)):
                self.note(self._mark(dotted), "E604", f"`{dotted}` {message}")
        keys = self._keys(settings.clients)
        self._check_open(settings, keys)
        self._check_admin(settings, keys)
        self._check_store(settings)
        self._check_tools(settings, keys)
        return dataclasses.replace(
            settings,
            clients=dataclasses.replace(settings.clients, keys=keys),
            state_key=self._state_keys(settings.state_key),
            routes=[self._path("routes", folder) for folder in settings.routes],
            state=self._path("state", settings.state) if settings.state else self._state(),
            mcp={name: self._placed(name, server) for name, server in settings.mcp.items()},
        )

    def _keys(self, clients: Clients) -> list[Secret]:
        """All keys, those of the file too, one by one; each must be strong enough."""
        keys = []
        for at, (secret, mark) in enumerate(self._written_keys(clients), 1):
            why = weakness(secret.reveal())
            if why is not None:
                # The line itself is not shown: it may hold other keys.
                bare = mark._replace(excerpt="")
                self.note(bare, "E602", f"client key {at} ({secret.name}) {why}; {_BETTER}")
            keys.append(secret)
        return keys

    def _written_keys(self, clients: Clients) -> Iterator[tuple[Secret, Mark]]:
        node = self._node("clients.keys")
        nodes = [] if node is None else node.value if node.kind == "list" else [node]
        for child, secret in zip(nodes, clients.keys, strict=True):
            if self._is_unset(child.mark):
                continue
            parts = [part.strip() for part in secret.reveal().split(",")]
            for part in [part for part in parts if part] or [""]:
                yield Secret(part, secret.name), child.mark
        if clients.file is not None and self.reads:
            yield from self._keys_of_file(self._path("clients.file", clients.file))

    def _keys_of_file(self, path: str) -> Iterator[tuple[Secret, Mark]]:
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8"
            self.note(self._mark("clients.file"), "E203", f"cannot read file `{path}`: {why}")
            return
        for at, line in enumerate(lines, 1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield Secret(text, f"file:{path}"), Mark(path, at, 1)

    def _check_open(self, settings: Settings, keys: list[Secret]) -> None:
        clients, mark = settings.clients, self._mark("clients")
        host = settings.listen.host
        if clients.auth == "none":
            if keys:
                self.note(mark, "E603", "`clients` has keys and `auth: none`: remove one of them")
            elif not is_loopback(host):
                message = f"no key is asked for, and `{host}` can be reached from other machines"
                self.problems.append(mark.problem("W601", message, "warning"))
            return
        unread = clients.file is not None and not self.reads
        if keys or unread or any(problem.code == "E201" for problem in self.problems):
            return
        far = "" if is_loopback(host) else f"`{host}` can be reached from other machines, and "
        message = f"not started: {far}there is no client key; write `{SHOWN}`"
        self.note(mark, "E601", f"{message}, or `{OPEN}` to serve whoever calls (`--open`)")

    def _check_admin(self, settings: Settings, keys: list[Secret]) -> None:
        key, mark = settings.admin.key, self._mark("admin.key")._replace(excerpt="")
        if key is None and settings.admin.listen is not None:
            message = "`admin.listen` without `admin.key`: the admin paths are off"
            self.note(self._mark("admin.listen"), "E603", message)
        if key is None or self._is_unset(mark):
            return
        why = weakness(key.reveal())
        if why is not None:
            self.note(mark, "E602", f"`admin.key` ({key.name}) {why}; {_BETTER}")
        elif any(digest(key.reveal()) == digest(k.reveal()) for k in keys if _sound(k)):
            self.note(mark, "E603", "`admin.key` is also a client key: take another")

    def _check_tools(self, settings: Settings, keys: list[Secret]) -> None:
        for name, server in settings.mcp.items():
            wrong = wrong_server(server)
            if wrong is not None:
                key, why = wrong
                self.note(self._mark(f"mcp.{name}.{key}"), "E608", f"`mcp.{name}.{key}` {why}")
        mark = self._mark("clients.tools")._replace(excerpt="")
        unread = settings.clients.file is not None and not self.reads
        if unread or any(problem.code == "E201" for problem in self.problems):
            return
        for secret in unknown_keys(settings.clients.tools, keys):
            message = f"`clients.tools` lists a key ({secret.name}) that is not among the clients'"
            self.note(mark, "E603", message)

    def _check_store(self, settings: Settings) -> None:
        url, mark = settings.redis.url, self._mark("redis.url")._replace(excerpt="")
        if settings.store == "redis" and url is None:
            message = "`store: redis` needs `redis.url`, such as `redis: { url: ${env:REDIS_URL} }`"
            self.note(self._mark("store"), "E605", message)
        elif url is not None and not self._is_unset(mark) and not _is_redis(url.reveal()):
            told = "begins with `redis://`, `rediss://` or `unix://` and names a server"
            self.note(mark, "E604", f"`redis.url` ({url.name}) {told}")

    def _state_keys(self, written: list[Secret]) -> list[Secret]:
        """The keys one by one, each of them one that can encrypt."""
        given = self.env.get("PENSTOCK_STATE_KEY", "").strip()
        if not written and given:
            written = [Secret(given, "env:PENSTOCK_STATE_KEY")]
        mark = self._mark("state_key")._replace(excerpt="")
        if self._is_unset(mark):
            return []
        keys = [
            Secret(part.strip(), secret.name)
            for secret in written
            for part in secret.reveal().split(",")
        ]
        for at, key in enumerate(keys, 1):
            if not _STATE_KEY.fullmatch(key.reveal()):
                self.note(mark, "E606", f"`state_key` {at} ({key.name}) is no key: {_KEY_MAKER}")
        return keys

    # ---- places ----

    def _node(self, dotted: str) -> Node | None:
        node: Node | None = self.tree
        for key in dotted.split("."):
            node = node.get(key) if node is not None else None
        return node

    def _mark(self, dotted: str) -> Mark:
        """Where a key is written, or the nearest thing above it."""
        while dotted:
            node = self._node(dotted)
            if node is not None:
                return node.mark
            dotted = dotted.rpartition(".")[0]
        return self.tree.mark

    def _is_unset(self, mark: Mark) -> bool:
        return any(
            p.code == "E201" and (p.line, p.column) == (mark.line, mark.column)
            for p in self.problems
        )

    def _path(self, dotted: str, text: str) -> str:
        """A path of the file is relative to it; one from an option to the current folder."""
        if text.startswith("~/") and self.env.get("HOME"):
            text = self.env["HOME"] + text[1:]
        return text if self._mark(dotted).file == GIVEN else str(self.base / text)

    def _placed(self, name: str, server: McpServer) -> McpServer:
        places = {
            key: self._path(f"mcp.{name}.{key}", path)
            for key, path in (("cwd", server.cwd), ("log", server.log))
            if path
        }
        return dataclasses.replace(server, **places)  # type: ignore[arg-type]

    def _state(self) -> str:
        home = self.env.get("HOME")
        folder = self.env.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
        return f"{folder}/penstock" if folder else "state"


_BETTER = "take a random one, such as `openssl rand -hex 24` gives"
_STATE_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_KEY_MAKER = "32 random bytes in URL-safe base64, `openssl rand -base64 32 | tr +/ -_` gives one"
_ORIGIN = re.compile(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:\d+)?")
_HOST = re.compile(r"[\w.-]+|\[?[0-9a-f:]+\]?")
_RULES: tuple[tuple[str, Callable[[Any], object], str], ...] = (
    ("listen.port", lambda port: 0 <= port <= 65535, "is between 0 and 65535"),
    ("metrics.path", re.compile(r"/[\w./-]+").fullmatch, "is a path such as `/metrics`"),
    ("cors.origins", lambda all_: all(map(_ORIGIN.fullmatch, all_)),
     "names origins such as `https://chat.example.com`, without `*` and path"),
    ("redis.prefix", re.compile(r"[\w.:-]+").fullmatch, "has letters, digits, `_`, `.`, `:`, `-`"),
    ("limits.connections", lambda count: count >= 0, "is 0 or more"),
    ("redis.timeout", lambda seconds: seconds >= 0.01, "is 10ms or more"),
    ("hosts", lambda all_: all(map(_HOST.fullmatch, all_)), "names hosts, without scheme and port"),
)  # fmt: skip


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.path if parts.scheme == "unix" else parts.hostname
        return parts.scheme in ("redis", "rediss", "unix") and bool(named) and parts.port != 0
    except ValueError:
        return False


def _sound(key: Secret) -> bool:
    return weakness(key.reveal()) is None


def _graft(tree: Node, dotted: str, value: object) -> None:
    """Set a value in the tree as if it had been written there."""
    mark = Mark(GIVEN, 0, 0)
    *above, last = dotted.split(".")
    for key in above:
        child = tree.get(key)
        if child is None or child.kind != "map":
            child = tree.value[key] = Node("map", {}, mark)
            tree.keys[key] = mark
        tree = child
    tree.value[last] = _given(value, mark)
    tree.keys[last] = mark


def _given(value: object, mark: Mark) -> Node:
    if isinstance(value, list | tuple):
        return Node("list", [_given(item, mark) for item in value], mark)
    kind: Literal["bool", "int", "str"] = (
        "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "str"
    )
    return Node(kind, value, mark, str(value), quoted=True)
