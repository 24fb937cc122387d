"""A curl command as a request: what browsers copy as "Copy as cURL" (bash), and what people write.

Quoting is that of a POSIX shell and bash's `$'…'`. What the command takes from elsewhere (files, a
configuration, several URLs) is refused; what only says how curl itself behaves is left out.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote_plus, unquote, urlsplit

from engine.wire import HttpRequest

_PARTS = re.compile(
    r"""'[^']*'|"(?:\\.|[^"\\])*"|(?P<ansi>\$'(?:\\.|[^'\\])*')|(?P<line>\\\r?\n)|\\.|.""", re.S
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|(.))", re.S
)
_CONTROLS = dict(zip("abeEfnrtv", "\a\b\x1b\x1b\f\n\r\t\v", strict=True))
BOUNDARY = "penstock-draft-boundary"

# Options that take a value, and what is done with it; "" is left out.
_VALUES = {
    "-H": "header", "--header": "header", "-d": "data", "--data": "data", "--data-ascii": "data",
    "--data-binary": "data", "--data-raw": "raw", "--data-urlencode": "urlencode", "--json": "json",
    "-F": "form", "--form": "form", "--form-string": "text", "-b": "cookie", "--cookie": "cookie",
    "-u": "user", "--user": "user", "-X": "method", "--request": "method", "--url": "url",
    "-A": "agent", "--user-agent": "agent", "-e": "referer", "--referer": "referer",
    "--oauth2-bearer": "bearer", "-o": "", "--output": "", "-m": "", "--max-time": "", "-w": "",
    "--write-out": "", "--connect-timeout": "", "--retry": "", "--retry-delay": "", "-c": "",
    "--cookie-jar": "", "-D": "", "--dump-header": "", "--http2-prior-knowledge": "",
}  # fmt: skip
_FLAGS = {
    "-s", "--silent", "-S", "--show-error", "-L", "--location", "-i", "--include", "-v", "-4", "-6",
    "--verbose", "-N", "--no-buffer", "-f", "--fail", "-g", "--globoff", "--compressed", "-#",
    "--http1.1", "--http2", "--http3", "--path-as-is", "--no-progress-meter", "--progress-bar",
    "--tr-encoding", "--ssl-reqd", "--fail-with-body", "--tlsv1.2", "--tlsv1.3",
}  # fmt: skip
_GIVEN = {"agent": "User-Agent", "referer": "Referer"}
_INSECURE, _QUERY = {"-k", "--insecure"}, {"-G", "--get"}
_PROXY = {"-x", "--proxy"}


class DraftError(Exception):
    """Nothing can be drafted of this. The message is for the person who gave it, without values."""


@dataclass(slots=True)
class Curl:
    """A command on its way to being a request. insecure: it does not check the certificate."""

    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    in_query: bool = False
    insecure: bool = False
    proxy: bool = False

    def header(self, text: str) -> None:
        name, colon, value = text.partition(":")
        if text.startswith("@"):
            raise DraftError(
                "curl reads headers from a file (`-H @…`): write them into the command"
            )
        if colon and value.strip():
            self.headers.append((name.strip(), value.strip()))
        elif not colon and name.endswith(";"):  # curl's way to send an empty header
            self.headers.append((name[:-1], ""))

    def given(self, name: str, value: str) -> None:
        if not any(key.lower() == name.lower() for key, _ in self.headers):
            self.headers.append((name, value))

    def request(self) -> HttpRequest:
        """Raises DraftError."""
        url = self.url if "://" in self.url else f"http://{self.url}"
        before, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
        if at:
            _take(self, "--user", unquote(before))
            url = url.replace(f"{before}@", "", 1)
        body = "&".join(self.data).encode()
        if self.in_query and body:
            url, body = f"{url}{'&' if '?' in url else '?'}{body.decode()}", b""
        if self.fields:
            body = multipart(self.fields)
            self.given("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        elif body:
            self.given("Content-Type", "application/x-www-form-urlencoded")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise DraftError("the URL is not one of http or https")
        return HttpRequest(
            self.method or ("POST" if body else "GET"), url, tuple(self.headers), body=body
        )


def multipart(fields: list[tuple[str, str]]) -> bytes:
    """The body of a form of texts."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    return f"{''.join(parts)}--{BOUNDARY}--\r\n".encode()


def read_curl(command: str) -> Curl:
    """Raises DraftError."""
    words = _words(command)
    if not words or words[0].rpartition("/")[2] != "curl":
        raise DraftError("this is no curl command; in the browser choose Copy as cURL (bash)")
    curl, left = Curl(), iter(_split(words[1:]))
    for word in left:
        if word in _VALUES or word in _PROXY:
            value = next(left, None)
            if value is None:
                raise DraftError(f"curl option `{word}` has no value")
            _take(curl, word, value)
        elif word.startswith("-") and len(word) > 1:
            _flag(curl, word)
        else:
            _take(curl, "--url", word)
    if not curl.url:
        raise DraftError("the curl command has no URL")
    return curl


def _words(command: str) -> list[str]:
    if re.search(r"\^\r?\n|\^\"|^\s*curl\.exe", command) or "Invoke-WebRequest" in command:
        raise DraftError("this was copied for Windows; in the browser choose Copy as cURL (bash)")
    try:
        return shlex.split(_PARTS.sub(_plain, command))
    except ValueError as error:
        raise DraftError(f"the curl command is cut off or misquoted: {error}".lower()) from None


def _plain(part: re.Match[str]) -> str:
    """A part of the command as a POSIX shell would write it."""
    if part["line"]:
        return " "
    return shlex.quote(_ESCAPE.sub(_unescaped, part["ansi"][2:-1])) if part["ansi"] else part[0]


def _unescaped(hit: re.Match[str]) -> str:
    byte, short, long, octal, letter = hit.groups()
    if octal:
        return chr(int(octal, 8) & 255)
    code = byte or short or long
    return chr(int(code, 16)) if code else _CONTROLS.get(letter, letter)


def _split(words: list[str]) -> Iterator[str]:
    """The words, with short options and their values apart: `-sXPOST` is `-s -X POST`."""
    for word in words:
        rest = word[1:] if re.match(r"-[^-]", word) else ""
        if not rest:
            yield word
        while rest:
            option, rest = f"-{rest[0]}", rest[1:]
            yield option
            if rest and (option in _VALUES or option in _PROXY):
                yield rest
                rest = ""


def _flag(curl: Curl, word: str) -> None:
    if word in _INSECURE:
        curl.insecure = True
    elif word in _QUERY:
        curl.in_query = True
    elif word in ("-I", "--head"):
        curl.method = "HEAD"
    elif word not in _FLAGS:
        raise DraftError(
            f"curl option `{word.partition('=')[0]}` cannot be carried over; try without it"
        )


def _take(curl: Curl, word: str, value: str) -> None:
    kind = "proxy" if word in _PROXY else _VALUES[word]
    match kind:
        case "header":
            curl.header(value)
        case "url" if curl.url:
            raise DraftError("the curl command has more than one URL; give that of the chat alone")
        case "url" | "method":
            setattr(curl, kind, value)
        case _ if kind in _GIVEN:
            curl.given(_GIVEN[kind], value)
        case "proxy":
            curl.proxy = True
        case "user" | "bearer":
            coded = base64.b64encode(value.encode()).decode()
            curl.given("Authorization", f"Basic {coded}" if kind == "user" else f"Bearer {value}")
        case "cookie":
            curl.given("Cookie", _cookie(word, value))
        case "form" | "text":
            curl.fields.append(_field(word, value, literal=kind == "text"))
        case _ if kind:
            curl.data.append(_data(curl, word, kind, value))


def _cookie(word: str, value: str) -> str:
    if "=" not in value:
        raise DraftError(f"`{word}` reads cookies from a file: write them into the command")
    return value


def _field(word: str, value: str, *, literal: bool) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not equals:
        raise DraftError(f"`{word}` has no `name=value`")
    if text.startswith(("@", "<")) and not literal:
        raise DraftError(f"`{word} {name}={text[0]}…` sends a file; only texts can be carried over")
    return name, text if literal else re.sub(r";\s*type=[^;]*$", "", text).strip('"')


def _data(curl: Curl, word: str, kind: str, value: str) -> str:
    if kind == "json":
        curl.given("Content-Type", "application/json")
        curl.given("Accept", "application/json")
    if kind == "urlencode":
        name, sign, text = re.fullmatch(r"([^=@]*)([=@]?)(.*)", value, re.S).groups()  # type: ignore[union-attr]
        if sign != "@":
            return f"{name}={quote_plus(text)}" if sign and name else quote_plus(name + text)
        value = "@"
    if value.startswith("@") and kind != "raw":
        raise DraftError(f"`{word} @…` sends a file: put its content into the command instead")
    return value
