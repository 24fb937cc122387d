"""A request as a route would write it: a tree with a template for each value that is not constant.

what was typed          {{ req.prompt }}, or the whole conversation where the body has one
the model's name        {{ model.upstream }}
from an earlier answer  {{ values.NAME }}
a credential            ${env:NAME}
a UUID, a time          {{ uuid4() }}, {{ now_ms() }}; a UUID that stands twice is in `let`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from engine.wire import HttpRequest, JsonError, dumps, loads

from .hiding import Hiding, is_credential, is_uuid, looks_secret
from .layout import Noted, bare

_MODEL = re.compile(r"(?i)model(?:_?(?:id|name|slug))?")
_TIME = re.compile(r"(?<!\d)1[5-9]\d{11}(?!\d)")  # milliseconds, 2017 to 2033
_SPEAKERS = re.compile(r"(?i)user|human|me|client|customer|person|usr|you|prompt")
_SAMPLING = {
    "temperature": "temperature", "top_p": "top_p", "topP": "top_p", "max_tokens": "max_tokens",
    "maxTokens": "max_tokens", "max_output_tokens": "max_tokens",
}  # fmt: skip
# Of the transport and the browser: a route has no use for these, or writes them itself.
_IDLE = re.compile(
    r"(?i):.*|host|connection|content-(?:length|type)|accept-(?:encoding|language)|cookie|sec-.*"
    r"|priority|dnt|pragma|cache-control|te|upgrade-insecure-requests|if-.*|transfer-encoding"
    r"|expect|origin-trial|x-client-data|x-stainless-.*|traceparent|tracestate|baggage|sentry-trace"
    r"|newrelic|x-datadog-.*"
)


@dataclass(slots=True)
class Asking:
    """Writes requests. Everything it meets on the way is kept for the rest of the route.

    filter  what writes messages that have a role and a content
    origin  the template for a text of a name that came from an earlier answer, "" if it did not
    fetched all such texts and their templates; several: names that stand twice in a form or query
    vars    those that expressions read
    """

    hiding: Hiding
    prompt: str
    origin: Callable[[str, str], str]
    fetched: dict[str, str] = field(default_factory=dict)
    filter: str = "as_openai"
    model: str = ""
    uuids: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    told: bool = False
    several: list[str] = field(default_factory=list)
    vars: dict[str, str] = field(default_factory=dict)

    def count(self, request: HttpRequest) -> None:
        """Note which UUIDs stand in a request more than once."""
        text = f"{unquote(request.url)} {request.body.decode('utf-8', 'replace')}"
        for found in re.findall(r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", text):
            self.uuids[found] = self.uuids.get(found, 0) + 1

    def let(self) -> dict[str, Any]:
        """The UUIDs that stand in several places."""
        return dict.fromkeys(self._twice().values(), "{{ uuid4() }}")

    def _twice(self) -> dict[str, str]:
        own = (text for text in self.uuids if text not in self.fetched)
        several = [text for text in own if self.uuids[text] > 1]
        return {text: f"id{number or ''}" for number, text in enumerate(several)}

    # ---- a request ----

    def tree(self, request: HttpRequest) -> dict[str, Any]:
        """The `request` without what `headers` says."""
        parts = urlsplit(request.url)
        tree: dict[str, Any] = {"method": request.method} if request.method != "POST" else {}
        tree["path"] = "/".join(self._segment(part) for part in parts.path.split("/")) or "/"
        if query := parse_qsl(parts.query, keep_blank_values=True):
            tree["query"] = self._fields(query)
        return tree | self.body(request)

    def _fields(self, pairs: list[tuple[str, str]]) -> dict[str, str]:
        names = [name for name, _ in pairs]
        self.several += [name for name in dict.fromkeys(names) if names.count(name) > 1]
        return {name: self.text(name, value) for name, value in pairs}

    def _segment(self, part: str) -> str:
        made = self._outside(self.text("", unquote(part)))
        return made.replace(" }}", " | urlpath }}") if "{{" in made else part

    def _outside(self, text: str) -> str:
        """A text whose references are read by `vars`, where filters and expressions may be."""
        for name in re.findall(r"\$\{env:(\w+)\}", text):
            self.vars[name.lower()] = f"${{env:{name}}}"
        return re.sub(r"\$\{env:(\w+)\}", lambda hit: f"{{{{ vars.{hit[1].lower()} }}}}", text)

    def headers(self, request: HttpRequest) -> Iterator[tuple[str, str]]:
        """Headers that a route would send, with what they hold, but for credentials."""
        for name, value in request.headers:
            if name.lower() == "referer" and not self.origin(name, value):
                parts = urlsplit(value)
                odd = any(map(_is_odd, re.split(r"[/?=&]", value.partition("://")[2])))
                value = f"{parts.scheme}://{parts.netloc}/" if odd else value
            if not _IDLE.fullmatch(name) and name.lower() != "authorization":
                yield name, self.text(name, value)

    def body(self, request: HttpRequest) -> dict[str, Any]:
        kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if not request.body:
            return {}
        if kind == "application/x-www-form-urlencoded" and not request.body.startswith(b"{"):
            pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
            return {"form": self._fields(pairs)}
        if kind == "multipart/form-data":
            return {"multipart": self._fields(fields_of(request))}
        try:
            found = loads(request.body)
        except JsonError:
            return {"raw": self.text("", request.body.decode("utf-8", "replace"))}
        odd = kind if kind and kind != "application/json" else ""
        return {"json": self.value("", found)} | ({"headers": {"Content-Type": odd}} if odd else {})

    # ---- values ----

    def value(self, name: str, found: Any) -> Any:
        """A value of a JSON body."""
        if isinstance(found, dict):
            return {key: self.value(key, inner) for key, inner in found.items()}
        if isinstance(found, list):
            turns = self._turns(found)
            kept = found[-1:] if _are_turns(found) else found
            return turns or [self.value(name, inner) for inner in kept]
        if name in _SAMPLING and isinstance(found, int | float) and not isinstance(found, bool):
            return f"{{{{ req.{_SAMPLING[name]} | default({found}) }}}}"
        if isinstance(found, int) and _TIME.fullmatch(str(found)):
            return "{{ now_ms() }}"
        return self.text(name, found) if isinstance(found, str) else found

    def text(self, name: str, text: str) -> str:
        """A text of a name, as a template."""
        if self.prompt and text == self.prompt:
            self.told = True
            return "{{ req.prompt }}"
        if self._is_model(name, text):
            self.model = text
            return "{{ model.upstream }}"
        if made := self.origin(name, text):
            return made
        if nested := self._nested(text):
            return nested
        if is_credential(name, text) and not self._is_made_up(text):
            return self.hiding.reference(name or "key", text)
        if is_uuid(text):
            again = self._twice().get(text)
            return f"{{{{ let.{again} }}}}" if again else "{{ uuid4() }}"
        return self._within(name, text)

    def _is_model(self, name: str, text: str) -> bool:
        named = _MODEL.fullmatch(name) and re.fullmatch(r"[\w@](?:[\w.:/@+ -]*\w)?", text)
        return named is not None and self.model in ("", text) and not looks_secret(text)

    def _is_made_up(self, text: str) -> bool:
        """Whether it has a fetched value in it, or words."""
        return any(known in text for known in self.fetched) or re.search(r"\s", text) is not None

    def _within(self, name: str, text: str) -> str:
        """A text of which a part may be one of those."""
        if self.prompt and len(self.prompt) > 3 and self.prompt in text:
            self.told = True
            before, after = map(self.hiding.covered, text.split(self.prompt, 1))
            return before + "{{ req.prompt }}" + after
        for known, template in self.fetched.items():
            if known in text:
                return template.join(self.text(name, part) for part in text.split(known))
        if _TIME.fullmatch(text):
            return "{{ '' ~ now_ms() }}"
        for word in filter(looks_secret, re.split(r"[\s\"'<>]+", text)):
            self.hiding.reference(name or "key", word)
        written = self.hiding.covered(text)
        return written if "{{" in written else _TIME.sub("{{ now_ms() }}", written)

    def _nested(self, text: str) -> str:
        """The template of a JSON text that holds what changes, "" if it is none."""
        if text[:1] not in ("{", "["):
            return ""
        try:
            tree = self.value("", loads(text))
        except JsonError:
            return ""
        made = expression(bare(tree), self._outside)
        return f"{{{{ {made} | json }}}}" if "req." in made else ""

    def _turns(self, found: list[Any]) -> Any:
        """The template of a list of messages, None if the list is none."""
        if not found or not all(isinstance(each, dict) and len(each) == 2 for each in found):
            return None
        if not all(set(each) == set(found[-1]) for each in found):
            return None
        for content, text in found[-1].items():
            (role,) = set(found[-1]) - {content}
            who = found[-1][role]
            said = _said(text)
            if isinstance(who, str) and said == self.prompt != "" and _SPEAKERS.fullmatch(who):
                return self._conversation(role, content, who, isinstance(text, list))
        return None

    def _conversation(self, role: str, content: str, who: str, parts: bool) -> Any:
        self.whole = self.told = True
        if (role, content) == ("role", "content"):
            return f"{{{{ req.messages | {self.filter} }}}}"
        if parts:
            return None
        names = f"role='{role}', content='{content}'"
        if who != "user":
            return Noted(
                f"{{{{ req.messages | as_messages({names}, roles={{'user': '{who}'}}) }}}}",
                "guess: how are other roles called?",
            )
        return f"{{{{ req.messages | as_messages({names}) }}}}"


def _is_odd(part: str) -> bool:
    """Whether a part of an address is about one conversation."""
    return is_uuid(part) or looks_secret(part) or re.fullmatch(r"[0-9a-f]{12,}", part) is not None


def _are_turns(found: list[Any]) -> bool:
    return bool(found) and all(isinstance(each, dict) and "role" in each for each in found)


def expression(tree: Any, outside: Callable[[str], str]) -> str:
    """A tree with templates in it as one expression."""
    if isinstance(tree, dict):
        inner = (f"{_literal(key)}: {expression(each, outside)}" for key, each in tree.items())
        return f"{{ {', '.join(inner)} }}"
    if isinstance(tree, list):
        return f"[{', '.join(expression(each, outside) for each in tree)}]"
    if not isinstance(tree, str):
        return dumps(tree).decode().replace("null", "none")
    pieces = re.split(r"\{\{ (.*?) \}\}", outside(tree))  # text, expression, text, ...
    made = [piece if at % 2 else _literal(piece) for at, piece in enumerate(pieces) if piece]
    return " ~ ".join(made) or "''"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _said(content: object) -> str:
    """The text of a message: as it is, or in parts."""
    if isinstance(content, list):
        texts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def fields_of(request: HttpRequest) -> list[tuple[str, str]]:
    """The texts of a multipart form; files are not among them."""
    kind = request.header("content-type") or ""
    parsed = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body)
    found = []
    for part in parsed.get_payload() if parsed.is_multipart() else []:
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        if isinstance(name, str) and not part.get_filename():  # type: ignore[union-attr]
            raw = part.get_payload(decode=True)  # type: ignore[union-attr]
            found.append((name, raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""))
    return found


def prompt_of(request: HttpRequest) -> str:
    """What was typed, by the looks: the last message of a user, else the longest text of words."""
    kind = request.header("content-type") or ""
    texts: list[tuple[float, str]] = []
    body = _json(request.body)
    if body is None and kind.startswith("multipart/"):
        pairs = fields_of(request)
    elif body is None:
        form = parse_qsl(request.body.decode("utf-8", "replace"))
        pairs = [pair for name, text in form for pair in _texts(name, text)]
        if not pairs and request.body and kind.startswith("text/"):
            return request.body.decode("utf-8", "replace")
    else:
        pairs = list(_texts("", body))
    pairs += parse_qsl(urlsplit(request.url).query)
    for name, text in pairs:
        texts.append((_wordy(name, text), text))
    best = max(texts, default=(0.0, ""), key=lambda pair: pair[0])
    return best[1] if best[0] > 0 else ""


def _json(data: bytes | str) -> Any:
    try:
        return loads(data) if data else None
    except JsonError:
        return None


_ASKS = re.compile(
    r"(?i).*(?:prompt|message|content|text|query|question|input|ask|says?|what|utterance|msg)|q"
)


def _wordy(name: str, text: str) -> float:
    if is_uuid(text) or looks_secret(text) or re.match(r"https?://|[\[{<]", text):
        return 0.0
    words = len(re.findall(r"[^\W\d_]+|[\u3040-\u9fff]", text))
    if not words or (words < 2 and not _ASKS.fullmatch(name)):
        return 0.0
    return (10_000.0 if _ASKS.fullmatch(name) else 0.0) + len(text)


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    """The texts of a body with their names; of several messages those of the last."""
    if isinstance(value, dict):
        if str(value.get("role", "")).lower() in ("system", "assistant", "developer"):
            return
        for key, inner in value.items():
            yield from _texts(str(key), inner)
    elif isinstance(value, list):
        dicts = [each for each in value if isinstance(each, dict) and "role" in each]
        for inner in dicts[-1:] if dicts and len(dicts) == len(value) else value:
            yield from _texts(name, inner)
    elif isinstance(value, str):
        inside = _json(value) if value[:1] in ("{", "[") else None
        yield from [(name, value)] if inside is None else _texts(name, inside)
