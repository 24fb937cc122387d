"""`reduce: path_patch`: streams that patch one document instead of sending pieces of text.

Each record says where (`p`, a JSON pointer or slash path), how (`o`: add, append, replace/set,
remove, patch/batch) and what (`v`). What is left out is as it was in the record before ("sticky
cursor"). Rules see one record per elementary patch:

    {p: "/response/fragments/-1/content", o: append, v: "text", doc: <the document so far>}

A record that is no patch (no `p`, `o`, `v`) is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.wire import Record

MAX_DEPTH = 64


def path_patch() -> Callable[[Record], list[Record]]:
    """A fresh reducer for one answer."""
    state = _State()
    return state.feed


class _State:
    def __init__(self) -> None:
        self.doc: Any = {}
        self.path = ""
        self.how = "add"

    def feed(self, record: Record) -> list[Record]:
        value = record.value
        if not isinstance(value, dict) or not value.keys() & {"p", "o", "v"}:
            return [record]
        self.path = _clean(value["p"]) if isinstance(value.get("p"), str) else self.path
        self.how = str(value["o"]).lower() if isinstance(value.get("o"), str) else self.how
        found = self.expand(self.path, self.how, value.get("v"))
        return [Record(record.event, record.data, {**patch, "doc": self.doc}) for patch in found]

    def expand(self, path: str, how: str, value: Any) -> list[dict[str, Any]]:
        if how in ("batch", "patch") and isinstance(value, list):
            out: list[dict[str, Any]] = []
            for item in value:
                inner = path + _clean(str(item.get("p", ""))) if isinstance(item, dict) else path
                if isinstance(item, dict):
                    out += self.expand(inner, str(item.get("o", "add")).lower(), item.get("v"))
            return out
        self.apply(path, how, value)
        return [{"p": path, "o": how, "v": value}]

    def apply(self, path: str, how: str, value: Any) -> None:
        steps = [step for step in path.split("/") if step][:MAX_DEPTH]
        if not steps:
            self.doc = {**self.doc, **value} if isinstance(value, dict) else self.doc
            return
        parent = self.doc
        for step in steps[:-1]:
            parent = _child(parent, step)
        _put(parent, steps[-1], how, value)


def _clean(path: str) -> str:
    return "/" + path.strip("/") if path.strip("/") else ""


def _child(parent: Any, step: str) -> Any:
    if isinstance(parent, list):
        at = _index(parent, step)
        return parent[at] if at is not None else {}
    if isinstance(parent, dict):
        return parent.setdefault(step, {})
    return {}


def _index(items: list[Any], step: str) -> int | None:
    try:
        at = int(step)
    except ValueError:
        return None
    return at if -len(items) <= at < len(items) else None


def _put(parent: Any, step: str, how: str, value: Any) -> None:
    if isinstance(parent, list):
        at = _index(parent, step)
        if how == "remove":
            if at is not None:
                del parent[at]
        elif at is None:
            parent.append(value)
        else:
            parent[at] = _joined(parent[at], how, value)
    elif isinstance(parent, dict):
        if how == "remove":
            parent.pop(step, None)
        else:
            parent[step] = _joined(parent.get(step), how, value)


def _joined(old: Any, how: str, value: Any) -> Any:
    if how != "append":
        return value
    if isinstance(old, str) and isinstance(value, str):
        return old + value
    if isinstance(old, list):
        return [*old, *value] if isinstance(value, list) else [*old, value]
    return value
