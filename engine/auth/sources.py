"""`auth.from`: where accounts come from. Each source is a function from its options to accounts.

    env         an environment variable, whole or split
    file        a file of credentials: lines, json, jsonl, yaml, env
    inline      parts that stand in the route, by reference as a rule
    client_key  the key the client sent
    value       nobody's: a fetched value gives the parts
    oauth2      names that log in at an identity service
    first_of    the first source that has any account

A source sees the world through `Reach`, which the compiler implements. It notes what is wrong
there and goes on, so that all mistakes are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import ClassVar, Literal, Protocol, Self

from engine.options import Path, Secret, option

from .accounts import Account, Fetching, account
from .formats import FORMATS, Bad, Entries, Entry
from .granting import Login, account_of, fetching_of
from .oauth import OAuth2

_OF_FILES = ("format", "id", "take")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Where accounts come from: exactly one source."""

    ONE_OF: ClassVar[tuple[str, ...]] = (
        "env", "file", "inline", "client_key", "value", "oauth2", "first_of",
    )  # fmt: skip

    env: str | None = option(None, "an environment variable; its text is `account.key`")
    split: str | None = option(
        None, "with `env`: what parts several keys in one variable", example='","'
    )
    file: str | None = option(
        None,
        "a file with accounts, relative to the route; editing it touches those accounts only",
        example="./data/accounts.jsonl",
    )
    format: Literal["lines", "json", "jsonl", "yaml", "env"] = option(
        "lines", "how the file is written; a line or a text is `account.key`, an object its fields"
    )
    id: str | None = option(
        None, "with `file`: the field that names an account in logs and admin answers",
        example="email",
    )  # fmt: skip
    take: dict[str, Path] = option(
        {}, "with `file`: parts and where in an entry they stand; default: its fields"
    )
    inline: dict[str, Secret] | None = option(None, "named parts, each `account.<name>`")
    client_key: bool | None = option(None, "the key the client sent is `account.key`")
    value: str | None = option(
        None, "a fetched value of scope account: its text is `account.key`, its outputs are parts"
    )
    count: int = option(1, "with `value`: how many such accounts there are")
    weight: str | None = option(None, "the part whose number is the share with `pick: weighted`")
    oauth2: OAuth2 | None = option(None, "accounts that log in at an identity service (OAuth 2)")
    first_of: list[Accounts] | None = option(None, "the first of these that has an account")

    def __post_init__(self) -> None:
        if self.split is not None and self.env is None:
            raise ValueError("`split` goes with `env`")
        if self.split == "":
            raise ValueError("`split` is empty")
        strays = [name for name in _OF_FILES if getattr(self, name) not in (None, {}, "lines")]
        if strays and self.file is None:
            raise ValueError(f"`{strays[0]}` goes with `file`")
        if self.count < 1 or (self.count > 1 and self.value is None):
            raise ValueError("`count` goes with `value` and is at least 1")


class Reach(Protocol):
    """What a source may ask for while a route is loaded."""

    def env(self, name: str) -> str:
        """The text of an environment variable, "" if it is not set or empty."""
        ...

    def read(self, path: str) -> str:
        """The text of a file, which is watched from now on. Raises OSError."""
        ...

    def yaml(self, path: str, text: str) -> Entries: ...
    def missing(self, code: str, message: str, key: str) -> None:
        """There is nothing at this source: a problem unless `first_of` finds another."""
        ...

    def wrong(self, code: str, message: str, key: str) -> None:
        """The key of the source is wrong, whatever else there is."""
        ...

    def bad_line(self, path: str, line: int, why: str) -> None: ...
    def value(self, name: str) -> tuple[str, ...] | None:
        """The outputs of a value of scope account; None: there is none of this name."""
        ...

    def fetching(self, fetching: Fetching) -> str:
        """Make a value of it; its name is for `Account.fetched`."""
        ...

    def login(self, options: OAuth2, name: str) -> Login:
        """The login of one account of an OAuth client; the route knows of it from now on."""
        ...

    def logged_in(self, login: Login) -> bool:
        """False where its tokens are certainly not there yet, and another source could serve."""
        ...

    def inside(self, key: str, at: int) -> Self:
        """The reach of a source within this one."""
        ...


Source = Callable[[Accounts, Reach], list[Account]]


def from_env(spec: Accounts, reach: Reach) -> list[Account]:
    name = spec.env or ""
    whole = reach.env(name).strip()
    keys = [key.strip() for key in whole.split(spec.split)] if spec.split else [whole]
    keys = [key for key in dict.fromkeys(keys) if key]
    if not keys:
        reach.missing("E201", f"environment variable `{name}` is not set", "env")
    label = f"env:{name}"
    if spec.split is None:
        return [account(label, {"key": Secret(key, label)}) for key in keys]
    labels = [f"{label}[{at}]" for at in range(1, len(keys) + 1)]
    return [
        account(each, {"key": Secret(key, each)}) for each, key in zip(labels, keys, strict=True)
    ]


def from_inline(spec: Accounts, reach: Reach) -> list[Account]:
    parts = spec.inline or {}
    found = _weighed("inline", parts, spec)
    if isinstance(found, str):
        reach.wrong("E522", f"`weight` {found}", "weight")
        return []
    return [found]


def from_client(spec: Accounts, reach: Reach) -> list[Account]:
    """No account of its own: each request brings one."""
    return []


def from_value(spec: Accounts, reach: Reach) -> list[Account]:
    name = spec.value or ""
    if reach.value(name) is None:
        reach.wrong("E522", f"`{name}` is not a value of `scope: account` of this route", "value")
        return []
    ids = [f"{name}-{at}" for at in range(1, spec.count + 1)]
    return [account(each, {}, digest=each, fetched=name) for each in ids]


def from_oauth2(spec: Accounts, reach: Reach) -> list[Account]:
    assert spec.oauth2 is not None
    return oauth2_accounts(spec.oauth2, reach, sure=True)


def oauth2_accounts(options: OAuth2, reach: Reach, *, sure: bool = False) -> list[Account]:
    """The accounts of a client. sure: only who may have logged in, where others could serve."""
    logins = [reach.login(options, name) for name in options.accounts]
    found = [login for login in logins if not sure or reach.logged_in(login)]
    if not found:
        reach.missing("E208", f"nobody is there yet; {logins[0].client.log_in}", "oauth2")
    return [account_of(login, reach.fetching(fetching_of(login))) for login in found]


# ---- files ----


def from_file(spec: Accounts, reach: Reach) -> list[Account]:
    path = spec.file or ""
    try:
        text = reach.read(path)
    except OSError as error:
        why = error.strerror or str(error)
        reach.missing("E203", f"cannot read file `{path}`: {why}", "file")
        return []
    entries = reach.yaml(path, text) if spec.format == "yaml" else FORMATS[spec.format](text)
    found, good = dict[str, Account](), True
    for entry in entries:
        made = entry if isinstance(entry, Bad) else _account(entry, spec)
        if isinstance(made, Bad):
            good = False
            reach.bad_line(path, made.line, made.why)
        else:
            found.setdefault(made.digest, made)
    if not found and good:
        reach.missing("E208", f"file `{path}` holds no account", "file")
    return list(found.values())


def _account(entry: Entry, spec: Accounts) -> Account | Bad:
    value = entry.value
    parts: Mapping[str, str] | str
    if spec.take:
        parts = _taken(value, spec.take)
    elif isinstance(value, dict):
        parts = dict(_texts(value))
    else:
        text = _text(value)
        parts = {"key": text} if text else "holds no text"
    if isinstance(parts, str):
        return Bad(entry.line, parts)
    if not any(parts.values()):
        return Bad(entry.line, "holds no text")
    name = spec.id
    if name is not None and not parts.get(name):
        return Bad(entry.line, f"lacks `{name}`, which `id` names")
    place = f"{PurePath(spec.file or '').name}:{entry.line}"
    label = parts[name] if name is not None else place
    several = len(parts) > 1
    secrets = {
        key: Secret(text, f"file:{place}.{key}" if several else f"file:{place}")
        for key, text in parts.items()
    }
    found = _weighed(label, secrets, spec)
    return Bad(entry.line, found) if isinstance(found, str) else found


def _taken(value: object, take: Mapping[str, Path]) -> dict[str, str] | str:
    parts = {}
    for name, path in take.items():
        text = _text(path.first(value))
        if text is None:
            return f"has nothing at `{path.source}` for `{name}`"
        parts[name] = text
    return parts


def _texts(value: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, item in value.items():
        text = _text(item)
        if text is not None:
            yield name, text


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _weighed(id: str, parts: Mapping[str, Secret], spec: Accounts) -> Account | str:
    """The account with its weight, or what is wrong with that."""
    known = frozenset([spec.id] if spec.id else [])
    if spec.weight is None:
        return account(id, parts, known=known)
    part = parts.get(spec.weight)
    if part is None:
        return f"needs the part `{spec.weight}`"
    text = part.reveal().strip()
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        return f"needs a whole number from 1 to 1000 in `{spec.weight}`"
    return account(id, parts, known=known | {spec.weight}, weight=int(text))


def inlined(specs: list[Accounts]) -> list[Secret]:
    """Every part that stands in the route itself."""
    found: list[Secret] = []
    for spec in specs:
        found += [*(spec.inline or {}).values(), *inlined(spec.first_of or [])]
    return found
