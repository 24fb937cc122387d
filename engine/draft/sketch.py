"""The draft of a route: what was asked, what that needed before, how the answer is read."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from engine.options import Secret
from engine.wire import HttpRequest, JsonError, loads

from .asking import Asking, prompt_of
from .framing import framed, is_patches
from .hiding import Hiding
from .infer import Reading, read_answer
from .known import Known, known
from .layout import Noted, bare, printable, written
from .opaque import Exchange, Origin, is_opaque, origin

HEAD = "# A first draft. Bridge only accounts and services that you may use this way.\n"
# Headers of everything that goes to the upstream, not of one request.
_SHARED = re.compile(r"(?i)user-agent|origin|referer|x-requested-with")
_BY_DIALECT = re.compile(r"(?i)accept|user-agent|anthropic-version|origin|referer")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]|\xef\xbf\xbd")
_LASTING = re.compile(r"(?i).*(?:nonce|token|csrf|xsrf|auth|key|secret)")


@dataclass(slots=True)
class Draft:
    """What is written, and what goes with it.

    env        the variables that the route reads, and what they have to hold
    exchanges  those that the route goes through, the chat's last
    client     the body of a client's request that asks the same
    fetched    what comes from answers on the way
    text, reasoning  what the draft reads in the answer; None: a dialect reads it, or nobody
    """

    name: str
    tree: dict[str, Any]
    env: dict[str, str]
    exchanges: list[Exchange]
    client: dict[str, Any]
    hiding: Hiding
    fetched: list[Secret] = field(default_factory=list)
    text: str | None = None
    reasoning: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def is_read(self) -> bool:
        """Whether the route reads the recorded answer."""
        return self.text is not None or "extends" in self.tree

    @property
    def file(self) -> str:
        """The text of the route."""
        return HEAD + written(self.tree)


def name_of(url: str) -> str:
    """A route's name from its host: `chat.example.com` is `example`."""
    host = urlsplit(url).hostname or ""
    labels = [label for label in host.split(".") if label]
    if not labels or labels[-1].isdigit() or len(labels) < 2 or ":" in host:
        return "draft"
    while len(labels) > 2 and labels[0] in ("www", "api", "chat", "app", "edge", "web"):
        labels.pop(0)
    return re.sub(r"[^a-z0-9-]+", "-", "-".join(labels[:-1]).lower()) or "draft"


def site_of(url: str) -> str:
    """Scheme, host and port, nothing else."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def sketch(
    exchanges: list[Exchange], at: int, *, name: str = "", prompt: str = "", insecure: bool = False
) -> Draft:
    """A draft of the exchange at a place; those before it are where its values may be from."""
    return _Sketch(exchanges, at, name, prompt).draft(insecure)


class _Sketch:
    def __init__(self, exchanges: list[Exchange], at: int, name: str, prompt: str) -> None:
        self.exchanges, self.at = exchanges, at
        self.request, self.answer = exchanges[at].request, exchanges[at].answer
        self.name = name or name_of(self.request.url)
        self.prompt = prompt or prompt_of(self.request)
        self.hiding = Hiding(self.name)
        self.before = at
        self.found: dict[str, str] = {}  # a text and the template of the value that gives it
        self.asking = Asking(self.hiding, self.prompt, self._origin, self.found)
        self.nowhere: set[str] = set()
        self.outputs: dict[int, dict[str, Any]] = {}  # exchange -> output -> step
        self.cookies: set[int] = set()
        self.remarks: list[str] = []
        self.counted: set[int] = set()
        self.site = site_of(self.request.url)

    # ---- values ----

    def _origin(self, name: str, text: str) -> str:
        if text in self.found:
            return self.found[text]
        if not is_opaque(text, name) or text == self.prompt or text in self.nowhere:
            return ""
        hit = origin(self.exchanges, text, self.before)
        if hit is None:
            self.nowhere.add(text)
            return ""
        host = site_of(self.exchanges[hit.at].request.url)
        if host != self.site:
            self._remark(f"{name or 'a part of the path'} came from {host}, another site")
            return ""
        word = re.sub(r"[^A-Za-z0-9]+", "_", name or hit.name).strip("_").lower() or "value"
        word = {"authorization": "token", "id": self._kind(hit)}.get(word, word)
        taken = {output for steps in self.outputs.values() for output in steps}
        while word in taken or not word[0].isalpha():
            word = f"v_{word}" if not word[0].isalpha() else f"{word}_2"
        self.outputs.setdefault(hit.at, {})[word] = hit.step
        self.found[text] = f"{{{{ values.@{hit.at}@{word} }}}}"
        return self.found[text]

    def _kind(self, hit: Origin) -> str:
        """What an `id` is of: the map it stands in, or the path of its request."""
        around = re.findall(r"[a-z_]{3,}", str(hit.step.get("json", "")).lower())
        around = [word for word in around if word not in ("data", "result", "response", "payload")]
        parts = re.findall(r"[a-z_]{3,}", urlsplit(self.exchanges[hit.at].request.url).path)
        return f"{(around or parts or ['an'])[-1]}_id".lower()

    def _values(self) -> dict[str, Any]:
        """The `values`, first to last. Their requests may need further ones."""
        made: dict[int, dict[str, Any]] = {}
        while missing := set(self.outputs) - set(made):
            at = self.before = max(missing)
            request = self._counted(at)
            tree = self.asking.tree(request)
            headers = dict(self.asking.headers(request))
            headers |= dict(self._credential(request, plain=True))
            headers = {key: value for key, value in headers.items() if not _SHARED.fullmatch(key)}
            tree["headers"] = tree.get("headers", {}) | headers
            made[at] = {key: value for key, value in tree.items() if value != {}}
        return {self._value_name(at): self._value(at, made[at]) for at in sorted(made)}

    def _counted(self, at: int) -> HttpRequest:
        """A request whose UUIDs are counted, once."""
        request = self.exchanges[at].request
        if at not in self.counted:
            self.counted.add(at)
            self.asking.count(request)
        return request

    def _value_name(self, at: int) -> str:
        """That of its only output; else the end of its path, if no other value is called so."""
        if len(self.outputs[at]) == 1:
            return next(iter(self.outputs[at]))
        taken = {name for steps in self.outputs.values() for name in steps}
        taken |= {self._path_word(other) for other in self.outputs if other != at}
        word = self._path_word(at)
        return word if word[:1].isalpha() and word not in taken else f"page{at}"

    def _path_word(self, at: int) -> str:
        part = urlsplit(self.exchanges[at].request.url).path.strip("/").rpartition("/")[2]
        return re.sub(r"[^A-Za-z0-9]+", "_", part.partition(".")[0]).strip("_").lower()

    def _value(self, at: int, request: dict[str, Any]) -> dict[str, Any]:
        steps = self.outputs[at]
        extract: Any = {name: [step] for name, step in steps.items()}
        text = written({"request": request})
        own = (
            "req." in text
            or "let." in text
            or any(
                f"values.@{other}@" in text
                for other in self.outputs
                if self._scope(other) == "request"
            )
        )
        scope = "request" if own else self._scope(at)
        value: dict[str, Any] = {"scope": Noted(scope, "guess: how long is it good, and for whom?")}
        value |= {
            "request": request,
            "extract": extract if len(steps) > 1 else extract.popitem()[1],
        }
        return value | ({"refresh_for": ["auth_expired"]} if scope == "route" else {})

    def _scope(self, at: int) -> str:
        lasting = any(_LASTING.fullmatch(name) for name in self.outputs[at])
        return "route" if lasting or self.exchanges[at].request.method == "GET" else "request"

    def _named(self, tree: Any) -> Any:
        """The tree with the names that values have in the end."""
        if isinstance(tree, Noted):
            return Noted(self._named(tree.value), tree.why)
        if isinstance(tree, dict):
            return {key: self._named(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._named(value) for value in tree]
        return (
            re.sub(r"values\.@(\d+)@(\w+)", self._reference, tree)
            if isinstance(tree, str)
            else tree
        )

    def _reference(self, hit: re.Match[str]) -> str:
        at, output = int(hit[1]), hit[2]
        several = len(self.outputs[at]) > 1
        return f"values.{self._value_name(at)}.{output}" if several else f"values.{output}"

    # ---- credentials ----

    def _credential(self, request: HttpRequest, *, plain: bool) -> list[tuple[str, Any]]:
        """What Authorization holds: a key of `auth`, or (plain) a header."""
        value = request.header("authorization")
        if not value:
            return []
        scheme, _, rest = value.partition(" ")
        secret = rest.strip() or scheme
        told = self._origin("authorization", secret)
        if scheme.lower() == "basic" and rest and not plain:
            return [("basic", self._pair(rest))]
        label = "key" if scheme.lower() == "bearer" else scheme if rest else "authorization"
        told = told or self.hiding.reference(label, secret)
        if scheme.lower() == "bearer" and not plain:
            return [("bearer", told)]
        whole = f"{scheme} {told}" if rest else told
        return [("Authorization", whole)] if plain else [("header", {"Authorization": whole})]

    def _pair(self, coded: str) -> dict[str, str]:
        try:
            user, _, word = base64.b64decode(coded).decode().partition(":")
        except ValueError:
            return {"username": self.hiding.reference("basic", coded), "password": ""}
        made = {"username": self.hiding.reference("user", user)}
        return made | {"password": self.hiding.reference("password", word)}

    def _cookie(self, request: HttpRequest) -> str:
        """The variable for the cookies that no answer on the way sets; "" if none is left."""
        kept = []
        for pair in (request.header("cookie") or "").split(";"):
            name, _, value = pair.strip().partition("=")
            hit = origin(self.exchanges, unquote(value), self.at) if value else None
            if hit and hit.step == {"cookie": name} and hit.at in self.outputs:
                self.cookies.add(hit.at)
            elif name:
                kept.append(pair.strip())
        return self.hiding.reference("cookie", "; ".join(kept)) if kept else ""

    # ---- the whole ----

    def draft(self, insecure: bool) -> Draft:
        api = known(self.request, self.answer, self.prompt)
        self.asking.filter = api.filter if api else "as_openai"
        for _ in range(2):  # what the first pass meets may stand in any text of the second
            self.before = self.at
            ask = self.asking.tree(self._counted(self.at))
            headers = dict(self.asking.headers(self.request))
            auth: dict[str, Any] = dict(self._credential(self.request, plain=False))
            values = self._values()
        secret = {key: value for key, value in headers.items() if "${env:" in value}
        if secret:
            auth["header"] = auth.get("header", {}) | secret
        query = ask.get("query", {})
        if kept := {key: query.pop(key) for key in list(query) if "${env:" in query[key]}:
            auth["query"] = kept
        plain = {key: value for key, value in headers.items() if key not in secret}
        shared = {key: value for key, value in plain.items() if _SHARED.fullmatch(key)}
        if cookie := self._cookie(self.request):
            shared["Cookie"] = cookie
        upstream: dict[str, Any] = {"cookies": "route"} if self.cookies else {}
        upstream |= {"tls": {"verify": False}} if insecure else {}
        own = {key: value for key, value in plain.items() if key not in shared}
        reading = None if api else self._reading()
        tree = self._tree(api, ask, own, shared, reading)
        tree |= {"auth": auth, "values": values, "upstream": upstream | {"headers": shared}}
        if not shared:
            tree["upstream"].pop("headers")
        if any("refresh_for" in value for value in values.values()):
            self._renewed(tree, [*values.values()], over=bool(api))
        return self._done(tree, reading)

    def _renewed(self, tree: dict[str, Any], values: list[dict[str, Any]], *, over: bool) -> None:
        """Say how a service refuses what is stale. over: the route has a parent with rules."""
        rules = tree.setdefault("errors", {}).setdefault("rules", [])
        for at, rule in enumerate(rules):  # a failure of status 200
            rules[at] = Noted({**rule.value, "as": "stale"}, rule.why)
        for value in values if rules else []:
            if "refresh_for" in value:
                value["refresh_for"] = ["auth_expired", "stale"]
        rule = {"status": [401, 403], "as": "auth_expired"}
        rules.append(Noted(rule, "guess: how the service refuses what is stale"))
        rules.extend(["inherit"] if over else [])

    def _remark(self, text: str) -> None:
        if printable(text) not in self.remarks:
            self.remarks.append(printable(text))

    def _reading(self) -> Reading | None:
        answer = self.answer
        if answer is None or not answer.body:
            return None
        found, reading = framed(answer), None
        if answer.status >= 400:
            self._remark(f"the recorded answer is an error ({answer.status}): record a good one")
        elif found and is_patches(found):
            self._remark("the answer is patches of one document: docs/cookbook.md reads such")
        elif (reading := read_answer(answer, self.prompt)) is None:
            self._remark("nothing in the answer reads like text; write its rules by hand")
        return reading

    def _tree(
        self,
        api: Known | None,
        ask: dict[str, Any],
        headers: dict[str, str],
        shared: dict[str, str],
        reading: Reading | None,
    ) -> dict[str, Any]:
        """The route but for its credentials and values, in the order in which people read it."""
        tree: dict[str, Any] = {"version": 1}
        tree |= {"name": self.name}
        if api:
            for name in [each for each in (*headers, *shared) if _BY_DIALECT.fullmatch(each)]:
                if name.lower() in ("accept", "anthropic-version") or not self._is_browser():
                    headers.pop(name, None)
                    shared.pop(name, None)
            tree["extends"] = api.preset
        tree["base_url"] = api.base if api else self.site
        tree["models"] = self._models(api)
        tree |= {"vars": self.asking.vars} if self.asking.vars else {}
        if let := self.asking.let():
            tree["let"] = let
        tree |= {"auth": {}, "values": {}, "upstream": {}}
        if not api and not self.asking.whole and self.asking.told:
            many = {"flatten_history": {}, "when": "req.messages | length > 1"}
            tree["transforms"] = [Noted(many, "a conversation goes as one text")]
        if reading and reading.transforms:
            tree.setdefault("transforms", []).extend(reading.transforms)
        tree["request"] = self._request(api, ask, headers)
        if not api:
            tree |= self._rules(reading)
        return tree

    def _is_browser(self) -> bool:
        return "mozilla" in (self.request.header("user-agent") or "").lower()

    def _models(self, api: Known | None) -> list[Any]:
        model = (api.model if api else "") or self.asking.model
        if not model:
            return [Noted(self.name, "guess: the request names no model")]
        short = model.rpartition("/")[2]
        return [model] if short == model else [{"id": short, "upstream": model}]

    def _request(
        self, api: Known | None, ask: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any]:
        if api and api.usual:
            query = {key: value for key, value in ask.get("query", {}).items() if key != "alt"}
            ask = {key: ask[key] for key in ask if key not in ("path", "method")} | {"query": query}
        if api and api.plain:
            ask.pop("json", None)
        elif api and isinstance(ask.get("json"), dict) and "stream" in ask["json"]:
            ask["json"]["stream"] = "{{ req.stream }}"
        if not self.asking.told and not (api and api.plain):
            self._remark("what was typed is nowhere in the request: put {{ req.prompt }} there")
        ask["headers"] = {**ask.get("headers", {}), **headers}
        return {key: value for key, value in ask.items() if value != {}}

    def _rules(self, reading: Reading | None) -> dict[str, Any]:
        if reading is not None:
            errors = {"errors": {"rules": reading.errors}} if reading.errors else {}
            return {reading.part: reading.tree, **errors}
        usual = ["$.text", "$.content", "$.message", "$.answer", "$.data.text", "$.data.content"]
        rule = {"text": Noted(usual, "guess: say where the text of an answer stands")}
        if not self._streams():
            return {"response": {"events": [{**rule, "finish": "stop"}]}}
        optional = Noted(True, "guess: say what tells that the answer is whole")
        stream = {
            "format": Noted("sse", "guess: how is the answer framed?"),
            "use": "always",
            "finish_optional": optional,
        }
        return {"stream": stream | {"events": [rule]}}

    def _streams(self) -> bool:
        if "event-stream" in (self.request.header("accept") or ""):
            return True
        try:
            body = loads(self.request.body)
        except JsonError:
            return False
        return isinstance(body, dict) and body.get("stream") is True

    def _done(self, tree: dict[str, Any], reading: Reading | None) -> Draft:
        tree = self._named(
            {key: value for key, value in tree.items() if bare(value) not in ({}, [])}
        )
        used = [self.exchanges[at] for at in sorted(self.outputs)] + [self.exchanges[self.at]]
        model = bare(tree["models"])[0]
        ask = self.prompt or "Hello"
        shape = framed(self.answer) if self.answer else None
        client = {
            "model": model if isinstance(model, str) else model["id"],
            "stream": shape is None or shape.format != "json",
            "messages": [{"role": "user", "content": ask}],
        }
        draft = Draft(self.name, tree, self.hiding.env, used, client, self.hiding)
        for name in self.asking.several:
            self._remark(f"`{name}` stands several times in the request; only the last one is sent")
        if _BINARY.search(self.request.body):
            self._remark("the body of the request is binary: it cannot be written as a template")
        draft.remarks = self.remarks
        draft.fetched = [Secret(text, "fetched") for text in self.found]
        if reading is not None:
            draft.text, draft.reasoning = reading.text, reading.reasoning
        return draft
