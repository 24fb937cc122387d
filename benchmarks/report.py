"""From records to a verdict: medians, the goals, and the Markdown.

A record is one case of one gateway in one run (see `run.py`). A figure of a goal is computed inside
each run and its median taken, so that what slowed the machine slowed both sides of a ratio. A row
with an error in any run is invalid, and a goal that needs it has no figure. A missed goal is
printed as missed, with its figure.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from cases import CASES

Record = dict[str, Any]
Run = dict[tuple[str, str], Record]  # of one run: (case, gateway) to record
Figure = Callable[[Run], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    number: str
    case: str
    text: str
    limit: float
    figure: Figure
    unit: str = "× bare"
    least: bool = False

    def verdict(self, value: float) -> str:
        return "pass" if (value >= self.limit if self.least else value <= self.limit) else "missed"


def ratio(case: str, name: str = "cpu_us") -> Figure:
    return lambda run: run[case, "penstock"][name] / run[case, "bare"][name]


def own(case: str, name: str, *, scale: float = 1.0) -> Figure:
    return lambda run: run[case, "penstock"][name] * scale


def above_bare(case: str, name: str) -> Figure:
    return lambda run: run[case, "penstock"][name] - run[case, "bare"][name]


def against_ten(case: str) -> Figure:
    """They take turns with each other, so no third one is needed to compare them by."""
    return lambda run: run[case, "penstock"]["cpu_us"] / run["routes_10", "penstock"]["cpu_us"]


def start_against_yaml(case: str) -> Figure:
    return lambda run: run[case, "penstock"]["start_s"] / run[case, "penstock"]["yaml_s"]


def kb_per_route(run: Run) -> float:
    many, few = run["routes_10000", "penstock"], run["routes_10", "penstock"]
    return float(many["rss_mb"] - few["rss_mb"]) * 1024 / 9990


def _cpu(number: str, case: str, text: str, limit: float) -> Goal:
    return Goal(number=number, case=case, text=text, limit=limit, figure=ratio(case))


def _held(number: str, text: str, limit: float, figure: Figure, unit: str) -> Goal:
    return Goal(number=number, case="held_1000", text=text, limit=limit, figure=figure, unit=unit)


IDEAL_HELD = next(case.ideal for case in CASES if case.name == "held_1000")
GOALS = (
    _cpu("G1", "chat_1k", "chat, CPU per request", 1.25),
    _cpu("G2", "template", "request template and response mapping, CPU per request", 1.4),
    _cpu("G3", "chat_100k", "100 KB request, CPU per request", 1.5),
    _cpu("G4", "dense", "stream passed on, CPU per event", 1.25),
    _cpu("G4", "rules_dense", "stream translated by YAML rules, CPU per event", 1.25),
    _cpu("G5", "burst", "burst passed on, CPU per event", 3.0),
    _cpu("G5", "rules_burst", "burst translated by YAML rules, CPU per event", 3.0),
    _cpu("G4", "pair_dense", "stream, Anthropic client on an OpenAI upstream, CPU per event", 1.25),
    _cpu("G5", "pair_burst", "burst, Anthropic client on an OpenAI upstream, CPU per event", 3.0),
    Goal(
        number="G5", case="rules_burst", text="burst translated by YAML rules, throughput",
        limit=200_000, figure=own("rules_burst", "eps"), unit="events/s", least=True,
    ),
    _held("G9", "memory per open stream", 40, own("held_1000", "stream_kb"), "KB"),
    Goal(
        number="G9", case="rules_held_1000", text="the same, translated by YAML rules", limit=40,
        figure=own("rules_held_1000", "stream_kb"), unit="KB",
    ),
    _held("G10", "1000 streams: time of a stream", 1.02,
          own("held_1000", "whole_p50", scale=1e-3 / IDEAL_HELD), "× the upstream's"),
    _held("G10", "1000 streams: cores at 10 000 events/s", 0.5,
          own("held_1000", "cpu_us", scale=0.01), "cores"),
    _held("G10", "1000 streams: event age p99", 1.5, ratio("held_1000", "age_p99"), "× bare"),
    Goal(
        number="G11", case="low", text="added latency at 1 connection, p50", limit=0.06,
        figure=above_bare("low", "whole_p50"), unit="ms",
    ),
    *(
        Goal(
            number="G12", case=case, text="CPU per request against 10 routes", limit=1.05,
            figure=against_ten(case), unit="× routes_10",
        )
        for case in ("routes_1000", "routes_10000")
    ),
    Goal(
        number="G12", case="routes_10000", text="memory per route, each used once", limit=25,
        figure=kb_per_route, unit="KB",
    ),
    Goal(
        number="G14", case="idle_500", text="500 routes, start to first answer", limit=2,
        figure=own("idle_500", "start_s"), unit="s",
    ),
    Goal(
        number="G14", case="routes_10000", text="10 000 routes, start to first answer", limit=10,
        figure=own("routes_10000", "start_s"), unit="s",
    ),
    *(
        Goal(
            number="G14", case=case, text="start, against reading the same YAML", limit=limit,
            figure=start_against_yaml(case), unit="× PyYAML's C loader",
        )
        for case, limit in (("idle_500", 10), ("routes_10000", 2.5))
    ),
    Goal(
        number="G15", case="idle", text="idle memory, 5 routes", limit=70,
        figure=own("idle", "rss_mb"), unit="MB",
    ),
)  # fmt: skip

COLUMNS = (
    ("requests/s", "rps"), ("events/s", "eps"), ("CPU µs", "cpu_us"), ("first p50", "first_p50"),
    ("first p99", "first_p99"), ("whole p50", "whole_p50"), ("whole p99", "whole_p99"),
    ("age p50", "age_p50"), ("age p99", "age_p99"), ("RSS MB", "rss_mb"),
    ("KB/stream", "stream_kb"), ("start s", "start_s"),
)  # fmt: skip


def short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _runs(records: list[Record]) -> list[Run]:
    runs: dict[int, Run] = {}
    for record in records:
        run = runs.setdefault(record["run"], {})
        if not record["error"]:
            run[record["case"], record["gateway"]] = record
    return list(runs.values())


def _goal_row(goal: Goal, runs: list[Run]) -> list[str]:
    target = f"{'≥' if goal.least else '≤'} {short(goal.limit)} {goal.unit}"
    row = [goal.number, f"`{goal.case}`", goal.text, target]
    try:
        values = sorted(goal.figure(run) for run in runs)
    except (KeyError, ZeroDivisionError):  # a row that it needs is invalid or was not asked for
        return [*row, "–", "–", "no figure"]
    value = median(values)
    spread = f"{_figure(values[0])} – {_figure(values[-1])}"
    return [*row, _figure(value), spread, goal.verdict(value)]


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else short(value)


def goals_table(records: list[Record]) -> str:
    asked = {record["case"] for record in records}
    if {"bare", "penstock"} - {record["gateway"] for record in records}:
        return ""
    runs = _runs(records)
    rows = [_goal_row(goal, runs) for goal in GOALS if goal.case in asked]
    return _table(("goal", "case", "what", "target", "median", "spread", "result"), rows)


def figures_table(records: list[Record]) -> str:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["case"], record["gateway"]), []).append(record)
    rows = []
    for (case, gateway), group in groups.items():
        error = next((record["error"] for record in group if record["error"]), "")
        cells = [short(_median(group, name)) for _, name in COLUMNS]
        rows.append([f"`{case}`", gateway, *cells, f"INVALID: {error}" if error else "ok"])
    return _table(("case", "gateway", *(title for title, _ in COLUMNS), "row"), rows)


def _median(group: list[Record], name: str) -> float | None:
    values = [record[name] for record in group if record.get(name) is not None]
    return median(values) if values else None


def markdown(records: list[Record], machine: str) -> str:
    parts = ["# Benchmark", machine, goals_table(records), figures_table(records)]
    notes = "CPU µs: per event where the answer streams, else per request. Times in ms but start."
    return "\n\n".join(part for part in [*parts, notes] if part) + "\n"
