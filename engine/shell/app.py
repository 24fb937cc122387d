"""The running gateway: ports, routes, server, watcher, signals; started and stopped in order."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from random import Random, SystemRandom
from typing import Any

from aiohttp import web

from engine.accounts.keyring import Keyring
from engine.accounts.parking import Parking
from engine.kept.answers import Answers
from engine.kept.sessions import Sessions
from engine.options import Secret
from engine.ports import Ports, Tools
from engine.route.book import RouteBook
from engine.route.route import Route

from .accounts import AccountsAdmin
from .admin import Admin, AdminServer
from .aws import BotocoreAws
from .chats import Chats
from .clock import SystemClock
from .continued import Continued
from .conversations import ConversationsAdmin
from .discovery import Models
from .doorman import Doorman
from .jobs import Job, kept_up
from .keeping import Keeping, Writes
from .keys import ClientKeys
from .library import Library
from .listener import Listener
from .log import Logger, take_over
from .mcp_settings import grants
from .metrics import Metrics
from .prefetch import prefetch
from .redact import Redactor
from .report import Reporter
from .server import Server
from .settings import KeptAnswers, Listen, Settings
from .stores import Stores, open_stores
from .tally import Tally
from .tokens import TokenPlaces
from .tools import ToolsAdmin, open_tools
from .upstream import AiohttpUpstream
from .watch import RouteKeeper
from .web import PublicWeb


@dataclass(slots=True)
class Gateway:
    """What runs. `url` is where it listens, `admin_url` where the admin paths are if not there."""

    server: Server
    keeper: RouteKeeper
    logger: Logger
    stores: Stores
    models: Models
    admin: AdminServer | None = None
    tally: Tally | None = None
    scribe: Writes | None = None
    url: str = ""
    admin_url: str = ""
    stop_listening: Callable[[], Awaitable[None]] | None = None


@asynccontextmanager
async def gateway(
    settings: Settings, library: Library, *, strict: bool = False, record: Keeping | None = None
) -> AsyncIterator[Gateway]:
    """Start everything; inside the block it serves. Raises ConfigError, OSError (port taken).

    record: where what is served is kept as fixtures, if it is
    """
    async with AsyncExitStack() as stack:
        built = await _build(settings, library, stack, record)
        await built.keeper.start(strict=strict)
        gc.freeze()  # the routes stay: no collection need look at them again
        await _listen(settings, built, stack)
        tasks = await stack.enter_async_context(_tasks())
        for name, job in _jobs(settings, built):
            tasks.append(kept_up(job, name, built.server.chats.ports.observer))
        yield built
        if built.stop_listening is not None:
            await built.stop_listening()
        await built.server.chats.drain(float(settings.drain))
        if built.scribe is not None:
            await built.scribe.close()
        if built.tally is not None:
            await built.tally.save()


def _jobs(settings: Settings, built: Gateway) -> Iterator[tuple[str, Job]]:
    """What goes on beside the serving, for ever, by name."""
    chats, guard, shared = built.server.chats, built.stores.guard, built.stores.shared
    if settings.watch != "off":
        yield "watching", built.keeper.run
    yield "tending", chats.tend
    yield "guarding", partial(guard.tend, at_once=shared)
    yield "sweeping", partial(chats.keyring.cleanups.tend, _finding(built.keeper))
    if shared:
        parking = Parking(chats.ports, chats.keyring.pools)
        yield "parking", partial(parking.tend, lambda: chats.book().routes.values())
    yield "doorman", _door(built).tend
    yield "models", built.models.run
    if built.scribe is not None:
        yield "recording", built.scribe.tend
    if built.tally is not None:
        yield "tally", built.tally.tend


def _finding(keeper: RouteKeeper) -> Callable[[str], Route | None]:
    return lambda name: keeper.book.routes.get(name)


def _door(built: Gateway) -> Doorman:
    return Doorman(lambda: built.keeper.book.behind_logins, built.server.chats.keyring)


@asynccontextmanager
async def _tasks() -> AsyncIterator[Any]:
    """A group whose tasks are cancelled at the end."""
    async with asyncio.TaskGroup() as group:
        started: list[asyncio.Task[Any]] = []

        class Adder:
            def append(self, coroutine: Any) -> None:
                started.append(group.create_task(coroutine))

        yield Adder()
        for task in started:
            task.cancel()


async def _build(
    settings: Settings, library: Library, stack: AsyncExitStack, record: Keeping | None
) -> Gateway:
    clock, redactor, metrics = SystemClock(), Redactor(), Metrics()
    secrets = tuple(settings.secrets())
    redactor.hold(secrets)
    logger = Logger(
        clock.now, format=settings.log.format, level=settings.log.least, redactor=redactor
    )
    stack.callback(logger.close)
    take_over(logger)
    observer = Reporter(logger, metrics, clock.now, clock.monotonic)
    stack.callback(observer.settle)
    upstream = AiohttpUpstream(settings.limits.connections)
    stack.push_async_callback(upstream.close)
    stores = open_stores(settings, clock, observer)
    stack.push_async_callback(stores.close)
    tools = await stack.enter_async_context(open_tools(settings.mcp, observer))
    ports = _ports(upstream, clock, stores, observer, redactor, tools)
    scribe: Writes | None = None
    kind: Callable[..., Chats] = Chats
    if record is not None:
        from .recorded_chats import recording  # so that nobody else imports it

        ports, scribe, kind = recording(record, settings, library, redactor, ports)
    keyring = await stack.enter_async_context(Keyring(ports))
    sessions = Sessions(ports)
    models = Models(ports, keyring, sessions)
    keeper = RouteKeeper(
        library,
        clock=clock,
        observer=observer,
        on_swap=partial(_swapped, keyring, redactor, secrets, models),
        watch="poll" if settings.watch == "poll" else "auto",
    )
    server = Server(
        settings=settings,
        keys=None if settings.clients.auth == "none" else ClientKeys(settings.clients.keys),
        chats=_chats(settings, models, ports, keyring, sessions, redactor.clean, kind),
        ready=lambda: bool(keeper.book.routes),
        since=int(clock.now()),
    )
    _extend(server, settings, metrics, keyring, keeper)
    admin = await _admin(server, settings, metrics, keeper, stores)
    tally = await _tally(settings, metrics, ports)
    return Gateway(server, keeper, logger, stores, models, admin, tally, scribe)


def _ports(
    upstream: AiohttpUpstream,
    clock: SystemClock,
    stores: Stores,
    observer: Reporter,
    redactor: Redactor,
    tools: Tools,
) -> Ports:
    random = Random(SystemRandom().getrandbits(128))
    return Ports(
        upstream,
        clock,
        stores.passing,
        stores.durable,
        observer,
        random,
        BotocoreAws(redactor.add),
        stores.shared,
        TokenPlaces(stores.durable, clock, observer, random),
        tools,
        PublicWeb(),
    )


async def _tally(settings: Settings, metrics: Metrics, ports: Ports) -> Tally | None:
    """Kept where somebody may ask for it, and nobody else counts in the same store."""
    if settings.admin.key is None or settings.store == "redis":
        return None
    tally = Tally(metrics, ports)
    await tally.load()
    return tally


def _chats(
    settings: Settings,
    models: Models,
    ports: Ports,
    keyring: Keyring,
    sessions: Sessions,
    clean: Callable[[bytes], bytes],
    kind: Callable[..., Chats],
) -> Chats:
    return kind(
        lambda: models.book,
        ports,
        keyring,
        sessions,
        clean,
        continued=_continued(ports, settings.responses),
        may_run=grants(settings.clients.tools),
    )


def _continued(ports: Ports, given: KeptAnswers) -> Continued:
    return Continued(Answers(ports, float(given.keep), given.most, given.durable))


def _swapped(
    keyring: Keyring,
    redactor: Redactor,
    own: Collection[Secret],
    models: Models,
    old: RouteBook,
    new: RouteBook,
) -> None:
    """What a swap of the book brings with it: known secrets, values fetched ahead, models."""
    models.swapped(new)
    redactor.hold([*own, *chain.from_iterable(map(_secrets, new.routes.values()))])
    for name, route in new.routes.items():
        if old.routes.get(name) is route:
            continue
        keyring.pools.adopt(route)
        prefetch(keyring, route)


def _secrets(route: Route) -> Iterator[Secret]:
    """What the file of a route gave."""
    yield from (value for value in route.references.values() if isinstance(value, Secret))
    for account in route.roster.accounts:
        yield from account.secrets


def _extend(
    server: Server, settings: Settings, metrics: Metrics, keyring: Keyring, keeper: RouteKeeper
) -> None:
    """Metrics, where they are switched on."""
    metrics.open_requests(lambda: float(len(server.chats.under_way)))
    metrics.pools(lambda: keyring.pools.counts(keeper.book.routes.values()))
    if settings.metrics.enabled:

        async def page(request: web.BaseRequest) -> web.Response:
            from .metrics_page import render

            return web.Response(
                body=render(metrics), headers={"Content-Type": "text/plain; version=0.0.4"}
            )

        server.extend({("GET", settings.metrics.path): page})


async def _admin(
    server: Server, settings: Settings, metrics: Metrics, keeper: RouteKeeper, stores: Stores
) -> AdminServer | None:
    """The admin paths, where they are switched on: on the server itself, or on one of their own."""
    chats, key, own = server.chats, settings.admin.key, settings.admin.listen
    clock, clients = chats.ports.clock, [*(server.keys.ids if server.keys else []), ""]
    accounts = AccountsAdmin(chats.keyring, lambda: keeper.book)
    await accounts.load()
    if key is None:
        return None
    sweep = partial(chats.keyring.cleanups.sweep, _finding(keeper))
    sessions = ConversationsAdmin(chats.sessions, lambda: keeper.book, clients, sweep)
    tools = ToolsAdmin(chats.ports.tools, settings.mcp, clock, chats.ports.observer)
    begun, parts = clock.monotonic(), (accounts, sessions, tools)
    admin = Admin(key, keeper, stores, metrics, parts, lambda: clock.monotonic() - begun)
    if own is None:
        server.extend(admin.table())
        return None
    alone = AdminServer(dataclasses.replace(settings, listen=own), server.keys, chats)
    alone.extend(admin.table())
    return alone


async def _listen(settings: Settings, built: Gateway, stack: AsyncExitStack) -> None:
    """Open the ports."""
    built.stop_listening, built.url = await _port(settings, settings.listen, built.server, stack)
    if built.admin is not None:
        _, built.admin_url = await _port(settings, built.admin.settings.listen, built.admin, stack)


async def _port(
    settings: Settings, listen: Listen, server: Server, stack: AsyncExitStack
) -> tuple[Callable[[], Awaitable[None]], str]:
    """How to stop listening, and the URL. The handler is cancelled when its client goes away."""
    header = int(settings.limits.header)
    low = Listener(
        server.handle,
        handler_cancellation=True,
        access_log=None,
        max_line_size=header,
        max_field_size=header,
        keepalive_timeout=75,
        lingering_time=2,
    )
    runner = web.ServerRunner(low, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, listen.host, listen.port, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    return site.stop, f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(
    settings: Settings,
    library: Library,
    *,
    strict: bool = False,
    started: Callable[[Gateway], None] = lambda gateway: None,
    record: Keeping | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP looks at all route files anew."""
    loop, stop, again = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    async with gateway(settings, library, strict=strict, record=record) as running:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        loop.add_signal_handler(signal.SIGHUP, again.set)
        started(running)
        async with _tasks() as tasks:
            tasks.append(_rescan(running.keeper, again))
            await stop.wait()


async def _rescan(keeper: RouteKeeper, again: asyncio.Event) -> None:
    while True:
        await again.wait()
        again.clear()
        await keeper.rescan(force=True)
