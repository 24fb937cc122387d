"""penstock schema: the JSON Schema of route files, the reference page, the admin API described."""

from __future__ import annotations

import json

import click

from engine.route.schema import json_schema, reference
from engine.route.spec import RouteSpec
from engine.shell.admin_paths import openapi

from .common import library, routes_option


@click.command()
@routes_option
@click.option("--docs", is_flag=True, help="Print the reference page instead.")
@click.option("--admin", is_flag=True, help="Print the admin API's OpenAPI description instead.")
def command(folders: tuple[str, ...], docs: bool, admin: bool) -> None:
    """Print the JSON Schema (draft-07) of route files, for editors and other checkers."""
    if admin:
        click.echo(json.dumps(openapi(), indent=2, ensure_ascii=False))
        return
    if docs:
        click.echo(reference(RouteSpec), nl=False)
        return
    loaded = library(folders).transforms()
    click.echo(json.dumps(json_schema(RouteSpec, loaded), indent=2, ensure_ascii=False))
