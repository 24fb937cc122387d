"""The `penstock` command: one file per verb, each imported only when it is used.

Exit codes: 0 good, 1 problems found, 2 wrong use.
"""

from __future__ import annotations

import gc
import importlib
from types import ModuleType

import click

from engine import __version__

VERBS = {
    "new": "write the first draft of a route",
    "serve": "serve the routes",
    "check": "check route files and name every mistake",
    "explain": "show the upstream request for a client request",
    "show": "show a route or preset with everything it inherits",
    "list": "list routes, presets, transforms, filters, outcome classes",
    "schema": "print the JSON Schema of route files",
    "record": "keep a request and its real answers as a fixture",
    "drift": "compare recorded fixtures with what the upstream answers now",
    "test": "replay recorded fixtures",
    "mock": "serve the recorded upstream of fixtures",
    "login": "log in for a route's OAuth accounts",
}


class Verbs(click.Group):
    """Finds a verb's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = _imported(f"engine.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _imported(name: str) -> ModuleType:
    """A module. Most of what imports make stays: no garbage is looked for in it, now or later."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="penstock")
def main() -> None:
    """Put any chat service behind the APIs that clients know, by one YAML file each."""
