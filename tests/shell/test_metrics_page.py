from __future__ import annotations

import re
import subprocess
import sys

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from engine.shell.metrics import METRICS, Metrics
from engine.shell.metrics_page import render


def test_label_values_of_any_kind_make_a_textthat_can_be_read() -> None:
    metrics = Metrics()
    metrics.attempt('a "quoted"\nroute\\', "ok", 0)
    families = text_string_to_metric_families(render(metrics).decode())
    labels = [
        each.labels for family in families for each in family.samples if "route" in each.labels
    ]
    assert labels == [{"route": 'a "quoted"\nroute\\', "outcome": "ok"}]


def test_the_registry_is_our_own() -> None:
    pages = [render(Metrics()) for _ in range(2)]
    assert all(b"penstock_build_info" in page for page in pages)
    ours = [m.name for m in REGISTRY.collect() if m.name.startswith("penstock")]
    assert ours == []


def test_every_metric_of_the_textis_in_the_table_and_the_other_way_round() -> None:
    text = render(Metrics()).decode()
    declared = dict(re.findall(r"^# TYPE (penstock_\w+) (\w+)$", text, re.M))
    assert declared == {name: metric.kind for name, metric in METRICS.items()}


def test_the_process_tells_of_itself() -> None:
    assert b"process_resident_memory_bytes" in render(Metrics())


def test_a_start_does_not_wait_for_the_library() -> None:
    code = "import sys, engine.cli.serve; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
