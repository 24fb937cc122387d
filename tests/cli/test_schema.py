"""penstock schema: one table, as JSON Schema and as a page."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from engine.cli import main

ROOT = Path(__file__).parents[2]


def run(*args: str) -> str:
    result = CliRunner().invoke(main, ["schema", *args])
    assert result.exit_code == 0
    return result.output


def test_the_schema_is_json_and_knows_the_shipped_transforms() -> None:
    schema = json.loads(run())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert all(f'"{word}"' in json.dumps(schema) for word in ("base_url", "think_tags"))


def test_the_page_is_the_one_that_is_committed() -> None:
    assert run("--docs") == (ROOT / "docs/reference.md").read_text()
