"""Run the benchmark: `python benchmarks/run.py [--cases a,b] [--runs 3] [--seconds 4] [--quick]`.

Starts the mock upstream, then each gateway, and puts the same loads on them in turn. The main
figure is CPU time of the gateway's process tree per good request, or per event where the answer
streams; every goal is a ratio to `bare` in the same run. See README.md for the cases.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from cases import CASES, NAMES, SLOW, Case, request_bytes
from gateway import (
    BIN,
    STARTERS,
    Failure,
    Gateway,
    build,
    free_port,
    gateway,
    leave_a_core,
    mock,
)
from report import Record, markdown

RESULTS = Path(__file__).parent / "results"
WARM_EVENTS = 20
SLICES = 4  # of a closed loop: what else the machine does changes within seconds
SETTLE = 0.3  # for what a gateway still does after the last byte
LIMIT = 30.0  # seconds that a load may take beyond what it takes by itself
SLOWEST = 0.01  # and for each answer of a fixed number: a first use may compile its route


@dataclass(frozen=True, slots=True)
class Bench:
    """What the measurements share: the scratch folder, the mock's port, and the options."""

    scratch: Path
    upstream: int
    seconds: float
    quick: bool

    @property
    def slice(self) -> float:
        """Seconds of a closed loop at a time, where gateways take turns."""
        return self.seconds if self.quick else self.seconds / SLICES

    def load(
        self, target: Gateway, case: Case, *, seconds: float, answers: int, events: int
    ) -> subprocess.Popen[str]:
        file = self.scratch / "request.bin"
        file.write_bytes(request_bytes(case, path=target.path(case), events=events))
        by_itself = seconds + case.ramp + case.ideal * -(-answers // case.conns) + SLOWEST * answers
        numbers = (
            case.conns, events or 1, seconds, answers, int(case.ramp * 1000), case.routes or 0,
            by_itself + LIMIT,
        )  # fmt: skip
        command = [str(BIN / "load"), str(target.port), str(file), *map(str, numbers)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def warm_up(self, target: Gateway, case: Case) -> None:
        """The same load, smaller; with many routes, one request to each of them."""
        events = min(case.events, WARM_EVENTS)
        answers = case.routes or (case.conns if case.answers else 0)
        seconds = 0 if answers else min(1.0, self.seconds)
        result = _result(self.load(target, case, seconds=seconds, answers=answers, events=events))
        if result["error"]:
            raise Failure(f"warm-up: {result['error']}")

    def measure(self, target: Gateway, case: Case) -> Record:
        """The load itself; memory is read while all streams of a `memory` case are open."""
        idle = target.rss_kb()
        before = target.cpu()
        answers = min(case.answers, case.conns) if self.quick else case.answers
        seconds = 0 if answers else self.slice if not case.fresh else self.seconds
        running = self.load(target, case, seconds=seconds, answers=answers, events=case.events)
        middle = None
        if case.memory:
            time.sleep((case.ramp + case.ideal) / 2)
            middle = target.rss_kb()
        result = _result(running)
        time.sleep(SETTLE)
        used = target.cpu() - before
        units = result["events"] if case.events else result["requests"]
        return {
            **result,
            "cpu_s": round(used, 2),
            "cpu_us": used * 1e6 / units if units else None,
            "rss_mb": idle / 1024,
            "stream_kb": (middle - idle) / case.conns if middle else None,
        }

    @contextmanager
    def started(self, name: str, case: Case, run: int) -> Iterator[Gateway]:
        process = case.name if case.fresh or case.beside else "shared"
        folder = self.scratch / f"{run}-{process}-{name}"
        with gateway(name, folder, case, self.upstream) as target:
            target.wait_ready(case)
            time.sleep(SETTLE)
            yield target

    def fresh(self, name: str, case: Case, run: int) -> Record:
        with self.started(name, case, run) as target:
            start = {"start_s": target.first_answer, "yaml_s": yaml_alone(target.folder)}
            if case.idle:
                return start | {"rss_mb": target.rss_kb() / 1024, "error": ""}
            if not case.memory:
                self.warm_up(target, case)
            return self.measure(target, case) | start

    def shared(self, target: Gateway, case: Case, *, warm: bool) -> Record:
        if not warm:
            self.warm_up(target, case)
        return self.measure(target, case)


def yaml_alone(folder: Path) -> float:
    """Seconds that the C loader of PyYAML takes for the route files of a gateway, no more."""
    texts = [path.read_bytes() for path in folder.glob("routes/*.yaml")]
    begun = time.process_time()
    for text in texts:
        yaml.load(text, yaml.CSafeLoader)
    return time.process_time() - begun


def _result(running: subprocess.Popen[str]) -> Record:
    output, _ = running.communicate()
    if running.returncode:
        raise Failure(f"the load generator ended with {running.returncode}")
    result: dict[str, Any] = json.loads(output)
    for name in ("first", "whole", "age"):
        p50, p99, largest = result.pop(f"{name}_ms") or (None, None, None)
        result |= {f"{name}_p50": p50, f"{name}_p99": p99, f"{name}_max": largest}
    if result["errors"]:
        result["error"] = f"{result['errors']} errors, the first: {result['error']}"
    elif not result["requests"]:
        result["error"] = "no answer at all"
    return result


def one_run(bench: Bench, run: int, names: list[str], cases: list[Case]) -> Iterator[Record]:
    """All cases of one run. Gateways take turns slice by slice; who is first alternates."""
    order = names if run % 2 else names[::-1]
    together = [case for case in cases if not case.fresh and not case.beside]
    with ExitStack() as stack:
        targets = {
            name: _tried_to_start(bench, stack, name, together[0], run)
            for name in (order if together else ())
        }
        for case in together:
            yield from taking_turns(bench, run, {(case, name): targets[name] for name in order})
    beside = [case for case in cases if case.beside]
    with ExitStack() as stack:
        yield from taking_turns(
            bench, run,
            {
                (case, name): _tried_to_start(bench, stack, name, case, run)
                for case in beside
                for name in order
            },
        )  # fmt: skip
    for case in cases:
        for name in order if case.fresh else ():
            yield _record(run, case, name, _tried(bench.fresh, name, case, run))


def taking_turns(
    bench: Bench, run: int, targets: dict[tuple[Case, str], Gateway | Failure]
) -> Iterator[Record]:
    """Loads put on slice by slice: what else the machine does meets all alike."""
    slices: dict[tuple[Case, str], list[Record]] = {key: [] for key in targets}
    whole = bench.quick or any(case.answers for case, _ in targets)
    for at in range(1 if whole else SLICES):
        for (case, name), target in [*targets.items()][:: -1 if at % 2 else 1]:
            if isinstance(target, Failure):
                found: Record = {"error": str(target)}
            else:
                found = _tried(partial(bench.shared, warm=at > 0), target, case)
            slices[case, name].append(found)
    for (case, name), target in targets.items():
        figures = summed(slices[case, name], case)
        if case.beside and isinstance(target, Gateway):
            figures |= {"start_s": target.first_answer, "yaml_s": yaml_alone(target.folder)}
        yield _record(run, case, name, figures)


def _tried_to_start(
    bench: Bench, stack: ExitStack, name: str, case: Case, run: int
) -> Gateway | Failure:
    try:
        return stack.enter_context(bench.started(name, case, run))
    except Failure as failure:
        return failure


def summed(slices: list[Record], case: Case) -> Record:
    """One record of a load that was put on in slices: counts in all, the median of the rest."""
    failed = next((found for found in slices if found["error"]), None)
    if failed is not None or len(slices) == 1:
        return failed or slices[0]
    whole: Record = {"error": ""}
    for name in slices[0].keys() - whole.keys():
        values = [found[name] for found in slices]
        if name in ("requests", "events", "errors", "seconds", "cpu_s"):
            whole[name] = sum(values)
        else:
            whole[name] = None if None in values else median(values)
    units = whole["events"] if case.events else whole["requests"]
    return whole | {"cpu_us": whole["cpu_s"] * 1e6 / units}


def _tried(measure: Callable[..., Record], *arguments: object) -> Record:
    try:
        return measure(*arguments)
    except Failure as failure:
        return {"error": str(failure)}


def _record(run: int, case: Case, name: str, figures: Record) -> Record:
    return {"run": run, "case": case.name, "gateway": name} | figures


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    stamp = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return (
        f"{stamp}; {os.cpu_count()} × {model}; Linux {platform.release()}; "
        f"Python {platform.python_version()}; load average {os.getloadavg()[0]:.1f} at the start"
    )


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU, memory and latency against plain aiohttp")
    parser.add_argument("--cases", type=_names(NAMES), default=list(NAMES), help=",".join(NAMES))
    parser.add_argument("--gateways", type=_names(tuple(STARTERS)), default=list(STARTERS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each closed loop")
    parser.add_argument(
        "--quick", action="store_true",
        help=f"1 run of 1 s, without {', '.join(SLOW)}: proves the tools, not the goals",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="write the Markdown here too")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.runs, chosen.seconds = 1, 1.0
        if chosen.cases == list(NAMES):
            chosen.cases = [name for name in NAMES if name not in SLOW]
    return chosen


def _names(known: tuple[str, ...]) -> Any:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return names


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that every `with` ends its process
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    build()
    leave_a_core()
    RESULTS.mkdir(exist_ok=True)
    about = machine()
    cases = [case for case in CASES if case.name in chosen.cases]
    records: list[Record] = []
    lines = RESULTS / time.strftime("%Y%m%d-%H%M%S.jsonl", time.gmtime())
    with TemporaryDirectory(prefix="bench-") as folder, lines.open("w", buffering=1) as log:
        log.write(json.dumps({"machine": about}) + "\n")
        port = free_port()
        bench = Bench(Path(folder), port, chosen.seconds, chosen.quick)
        with mock(Path(folder), port):
            for run in range(1, chosen.runs + 1):
                for record in one_run(bench, run, chosen.gateways, cases):
                    records.append(record)
                    log.write(json.dumps(record) + "\n")
                    _progress(record)
    text = markdown(records, about)
    if chosen.out:
        chosen.out.write_text(text)
    print(text)
    return 1 if any(record["error"] for record in records) else 0


def _progress(record: Record) -> None:
    what = record["error"] or f"CPU {record.get('cpu_us') or 0:.1f} µs"
    place = f"run {record['run']}  {record['case']:<16} {record['gateway']:<9}"
    print(f"{place} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
