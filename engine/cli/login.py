"""penstock login: log in for a route's OAuth accounts."""

from __future__ import annotations

import asyncio

import click

from engine.auth.granting import Login
from engine.errors import ExchangeError
from engine.route.route import Route
from engine.shell.login import Booth, desk, open_page, state_of, typed_lines, until
from engine.shell.settings import Settings

from .common import BAD, WRONG_USE, find, library, routes_option, server_settings, show_problems

Accounts = list[tuple[Route, Login]]


@click.command()
@click.argument("name", required=False)
@click.argument("account", required=False)
@routes_option
@click.option(
    "--config", type=click.Path(dir_okay=False), help="Server file; default penstock.yaml."
)
@click.option("--list", "list_", is_flag=True, help="Say how the accounts stand.")
@click.option("--no-browser", is_flag=True, help="Show the page's address only.")
def command(
    name: str | None,
    account: str | None,
    folders: tuple[str, ...],
    config: str | None,
    list_: bool,
    no_browser: bool,
) -> None:
    """Log in for the ACCOUNT of route NAME, and keep its tokens where the route says.

    Run it where the gateway runs: with its server file, and as its user.
    """
    if name is None and not list_:
        click.echo("penstock login: which route? --list shows them", err=True)
        raise SystemExit(WRONG_USE)
    settings = server_settings("login", config)
    accounts = _accounts(name, account, folders)
    if list_:
        asyncio.run(_list(settings, accounts))
        return
    if len(accounts) > 1:
        known = ", ".join(login.account for _, login in accounts)
        click.echo(f"penstock login: which account? There are {known}", err=True)
        raise SystemExit(WRONG_USE)
    if not asyncio.run(_log_in(settings, *accounts[0], browser=not no_browser)):
        raise SystemExit(BAD)


def _accounts(name: str | None, account: str | None, folders: tuple[str, ...]) -> Accounts:
    """The accounts that are meant. Exits when there are none."""
    routes = _all(folders) if name is None else [_route(name, folders)]
    found = [(route, login) for route in routes for login in route.logins]
    if name is not None and not found:
        click.echo(f"penstock login: route `{name}` has no account that logs in", err=True)
        raise SystemExit(WRONG_USE)
    if account is not None:
        known = ", ".join(login.account for _, login in found)
        found = [(route, login) for route, login in found if login.account == account]
        if not found:
            click.echo(f"penstock login: no account `{account}`; there are {known}", err=True)
            raise SystemExit(WRONG_USE)
    return found


def _route(name: str, folders: tuple[str, ...]) -> Route:
    compiled = find(name, folders)
    if compiled.route is None:
        show_problems(compiled.problems)
        raise SystemExit(BAD)
    return compiled.route


def _all(folders: tuple[str, ...]) -> list[Route]:
    shelf = library(folders)
    routes = (shelf.load(path).route for path in shelf.scan())
    return [route for route in routes if route is not None]


async def _list(settings: Settings, accounts: Accounts) -> None:
    async with desk(settings, _complain) as ports:
        rows = [
            (route.name, login.account, login.client.options.flow, await state_of(ports, login))
            for route, login in accounts
        ]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[3]]))


async def _log_in(settings: Settings, route: Route, login: Login, *, browser: bool) -> bool:
    async with desk(settings, _complain) as ports:
        opens = open_page if browser else lambda url: False
        booth = Booth(ports, route, login, click.echo, typed_lines(), opens)
        try:
            tokens = await booth.run()
        except ExchangeError as error:
            click.echo(f"penstock login: {error.message}", err=True)
            return False
        except TimeoutError:
            click.echo("penstock login: nobody logged in", err=True)
            return False
    place = login.place.partition(":")
    where = place[2] if place[0] == "file" else "the engine's store"
    parts = "".join(f", {name}" for name in tokens.parts)
    click.echo(f"Logged in: {route.name} {login.account}{until(tokens)}")
    click.echo(f"Kept in {where}: access_token{', refresh_token' if tokens.refresh else ''}{parts}")
    return True


def _complain(text: str) -> None:
    click.echo(f"penstock login: {text}", err=True)
