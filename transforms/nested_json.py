"""JSON that stands in a string of a record is opened before the rules see it."""

from dataclasses import dataclass
from typing import Any

from engine.transform import Context, JsonError, Record, loads, option

API = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    at: list[str] = option(
        doc="dotted names of the strings, the outer ones first; numbers count in lists, `*` is all",
        lone=True,
        example="event_data.message.content",
    )

    def __post_init__(self) -> None:
        if not self.at or not all(self.at):
            raise ValueError("`at` names nothing")


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self._paths = [path.removeprefix("$.").split(".") for path in options.at]

    def feed_record(self, record: Record) -> list[Record]:
        value = record.value
        for path in self._paths:
            value = _opened(value, path)
        return [record if value is record.value else Record(record.event, record.data, value)]


def _opened(value: Any, path: list[str]) -> Any:
    """A copy of the value, the string at the path decoded; the value itself if there is none."""
    if not path:
        if not isinstance(value, str):
            return value
        try:
            return loads(value)
        except JsonError:
            return value
    name, rest = path[0], path[1:]
    if isinstance(value, dict) and name == "*":
        return {key: _opened(item, rest) for key, item in value.items()}
    if isinstance(value, dict) and name in value:
        return {**value, name: _opened(value[name], rest)}
    if isinstance(value, list):
        chosen = range(len(value)) if name == "*" else [int(name)] if name.isdigit() else []
        return [_opened(item, rest) if at in chosen else item for at, item in enumerate(value)]
    return value
