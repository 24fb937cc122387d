"""The reload matrix, on real files: right result, and no other route is touched."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.route.book import RouteBook
from engine.shell import watch
from engine.shell.watch import RouteKeeper
from engine.wire import HttpRequest
from tests.shell.samples import (
    Seen,
    age,
    begin,
    keep,
    never,
    point,
    replace,
    route_text,
    running,
    save,
    transform_text,
    until,
)

SECRET = 'auth: { bearer: "${file:../secrets/key}" }'
BROKEN = "version: 1\nmodels: [m\n"


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    """A folder with two routes, written long ago."""
    folder = tmp_path / "routes"
    save(folder / "a.yaml", route_text("m"))
    save(folder / "other.yaml", route_text("other"))
    for path in folder.iterdir():
        age(path)
    return folder


@pytest.fixture
async def keeper(routes: Path) -> AsyncIterator[RouteKeeper]:
    """Watches the folder; whatever a test does to `a`, the route `other` stays the same."""
    async with running(keep(routes)) as keeper:
        other = keeper.book.routes["other"]
        yield keeper
        assert other is keeper.book.routes["other"]


def models(keeper: RouteKeeper, name: str = "a") -> list[str]:
    """The models a route offers, [] when there is no such route."""
    route = keeper.book.routes.get(name)
    return list(route.offers) if route else []


def offers(keeper: RouteKeeper, *names: str, route: str = "a") -> Callable[[], bool]:
    return lambda: models(keeper, route) == list(names)


def state(keeper: RouteKeeper, path: Path) -> str:
    known = keeper.states.get(str(path))
    return known.state if known else ""


def seen(keeper: RouteKeeper) -> Seen:
    observer = keeper._observer
    assert isinstance(observer, Seen)
    return observer


# ---- the first load ----


async def test_good_routes_serve_and_bad_ones_are_listed(routes: Path) -> None:
    save(routes / "bad.yaml", BROKEN)
    keeper = keep(routes)
    await keeper.start()
    assert list(keeper.book.routes) == ["a", "other"]
    found = {Path(file).stem: known.state for file, known in keeper.states.items()}
    assert found == {"a": "ok", "bad": "broken", "other": "ok"}
    problem = keeper.states[str(routes / "bad.yaml")].problems[0]
    assert (problem.code, problem.line) == ("E001", 3)


async def test_a_strict_start_refuses_what_is_broken(routes: Path) -> None:
    save(routes / "bad.yaml", BROKEN)
    with pytest.raises(ConfigError) as caught:
        await keep(routes).start(strict=True)
    assert [str(routes / "bad.yaml")] == [problem.file for problem in caught.value.problems]


async def test_a_strict_start_accepts_what_is_disabled(routes: Path) -> None:
    save(routes / "off.yaml", route_text("o", lines='auth: { bearer: "${env:NONE}" }'))
    keeper = keep(routes)
    await keeper.start(strict=True)
    assert state(keeper, routes / "off.yaml") == "disabled"


async def test_a_state_tells_what_serves(routes: Path) -> None:
    save(routes / "t.yaml", route_text("t", lines="transforms: [say]"))
    save(routes / "../transforms/say.py", transform_text("one"))
    save(routes / "../late/a.yaml", route_text("late"))
    keeper = keep(routes, routes.parent / "late")
    await keeper.start()
    known = keeper.states[str(routes / "t.yaml")]
    route = keeper.book.routes["t"]
    assert ("t", "ok", 1, route.digest) == (
        known.name,
        known.state,
        known.generation,
        known.sha256,
    )
    assert (["say"], str(routes), ()) == (list(known.transforms), known.folder, known.problems)
    shadowed = keeper.states[str(routes / "a.yaml")].shadows
    assert (str(routes.parent / "late/a.yaml"),) == shadowed


async def test_the_first_of_two_files_with_one_model_serves(routes: Path) -> None:
    save(routes / "b.yaml", route_text("m"))
    keeper = keep(routes)
    await keeper.start()
    assert [state(keeper, routes / f"{name}.yaml") for name in "ab"] == ["ok", "broken"]
    assert [p.code for p in keeper.states[str(routes / "b.yaml")].problems] == ["E501"]
    assert [name for name, _ in seen(keeper).notes if "clash" in name] == ["route_clash"]


async def test_five_hundred_routes_serve(tmp_path: Path) -> None:
    for at in range(500):
        save(tmp_path / f"routes/r{at}.yaml", route_text(f"m{at}"))
    keeper = keep(tmp_path / "routes")
    await keeper.start()
    assert (len(keeper.book.routes), len(keeper.book.listed)) == (500, 500)


async def test_a_file_mounted_alone_is_told(routes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = f"36 35 8:1 / {routes / 'a.yaml'} rw - ext4 /dev/sda1 rw\n"
    monkeypatch.setattr(watch, "MOUNTS", routes.parent / "mountinfo")
    save(routes.parent / "mountinfo", table)
    keeper = keep(routes)
    await keeper.start()
    assert [str(routes / "a.yaml")] == [
        n["file"] for n in seen(keeper).named("route_mounted_alone")
    ]


async def test_without_a_table_of_mounts_nothing_is_told(
    routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOUNTS", routes.parent / "none")
    keeper = keep(routes)
    await keeper.start()
    assert seen(keeper).named("route_mounted_alone") == []


# ---- edits ----


@pytest.mark.parametrize("write", [save, replace])
async def test_an_edit_serves(
    keeper: RouteKeeper, routes: Path, write: Callable[[Path, str], None]
) -> None:
    write(routes / "a.yaml", route_text("m", "n"))
    await until(lambda: models(keeper) == ["m", "n"], 1)
    known = keeper.states[str(routes / "a.yaml")]
    assert (known.state, known.generation) == ("ok", 2)


async def test_edits_one_after_the_other_all_serve(keeper: RouteKeeper, routes: Path) -> None:
    for at, write in enumerate([save, replace, save, replace]):
        write(routes / "a.yaml", route_text(f"m{at}"))
        await until(offers(keeper, f"m{at}"), 1)


async def test_a_deleted_and_rewritten_file_never_stops_serving(
    keeper: RouteKeeper, routes: Path
) -> None:
    (routes / "a.yaml").unlink()
    await never(lambda: models(keeper) == [], 0.3)
    save(routes / "a.yaml", route_text("m", "n"))
    await until(lambda: models(keeper) == ["m", "n"], 1)
    assert seen(keeper).named("route_removed") == []


async def test_a_deleted_file_is_gone_after_a_second(keeper: RouteKeeper, routes: Path) -> None:
    (routes / "a.yaml").unlink()
    await never(lambda: models(keeper) == [], 0.8)
    await until(lambda: models(keeper) == [], 2)
    assert (
        state(keeper, routes / "a.yaml"),
        seen(keeper).named("route_removed"),
    ) == ("", [{"route": "a", "level": "info"}])


async def test_a_new_file_serves(keeper: RouteKeeper, routes: Path) -> None:
    save(routes / "sub/deep/new.yaml", route_text("new"))
    await until(lambda: models(keeper, "new") == ["new"], 2)
    save(routes / "sub/deep/new.yaml", route_text("newer"))
    await until(lambda: models(keeper, "new") == ["newer"], 2)


async def test_a_touch_changes_nothing(keeper: RouteKeeper, routes: Path) -> None:
    book = keeper.book
    (routes / "a.yaml").touch()
    (routes / "a.yaml").chmod(0o600)
    await never(lambda: keeper.book is not book, 0.5)
    assert (await keeper.rescan(force=True))[str(routes / "a.yaml")] == "unchanged"


async def test_two_hundred_writes_end_in_the_last_one(keeper: RouteKeeper, routes: Path) -> None:
    for at in range(200):
        save(routes / f"burst{at % 5}.yaml", route_text(f"b{at}"))
        if at % 20 == 0:
            await asyncio.sleep(0.005)
    await until(lambda: [models(keeper, f"burst{at}") for at in range(5)] == [
        [f"b{at}"] for at in range(195, 200)
    ])  # fmt: skip
    assert seen(keeper).named("route_failed") == []


async def test_a_file_written_in_two_parts_is_never_half_served(
    keeper: RouteKeeper, routes: Path
) -> None:
    before = keeper.book.routes["a"]
    text = route_text("m", "n", lines="timeouts: { connect: 3s }")
    with begin(routes / "a.yaml", text[:60]) as file:
        await never(lambda: keeper.book.routes["a"] is not before, 0.5)
        file.write(text[60:])
    await until(lambda: models(keeper) == ["m", "n"], 1)
    assert seen(keeper).named("route_failed") == []


async def test_a_valid_half_of_a_file_is_not_served_while_it_grows(
    keeper: RouteKeeper, routes: Path
) -> None:
    before = keeper.book.routes["a"]
    with begin(routes / "a.yaml", route_text("m", "n")) as file:
        for _ in range(20):
            file.write("# more to come\n")
            file.flush()
            assert before is keeper.book.routes["a"]
            await asyncio.sleep(0.02)
    await until(lambda: models(keeper) == ["m", "n"], 1)


async def test_a_broken_edit_keeps_the_last_good_route(keeper: RouteKeeper, routes: Path) -> None:
    before = keeper.book.routes["a"]
    save(routes / "a.yaml", BROKEN)
    await never(lambda: state(keeper, routes / "a.yaml") != "ok", 1.5)
    await until(lambda: state(keeper, routes / "a.yaml") == "stale")
    known = keeper.states[str(routes / "a.yaml")]
    assert before is keeper.book.routes["a"]
    assert ("E001", 1, before.digest) == (known.problems[0].code, known.generation, known.sha256)
    save(routes / "a.yaml", route_text("m", "n"))
    await until(lambda: state(keeper, routes / "a.yaml") == "ok", 1)
    assert models(keeper) == ["m", "n"]


async def test_a_broken_file_that_was_moved_in_is_told_at_once(
    keeper: RouteKeeper, routes: Path
) -> None:
    beside = routes / "a.tmp"
    beside.write_text(BROKEN)
    await asyncio.sleep(0.05)
    os.replace(beside, routes / "a.yaml")
    await until(lambda: state(keeper, routes / "a.yaml") == "stale", 1)
    told = seen(keeper).named("route_failed")
    assert [(fields["state"], fields["level"]) for fields in told] == [("stale", "error")]


async def test_an_empty_file_is_an_error_after_a_while_and_no_deletion(
    keeper: RouteKeeper, routes: Path
) -> None:
    save(routes / "a.yaml", "")
    await never(lambda: state(keeper, routes / "a.yaml") != "ok", 1.5)
    await until(lambda: state(keeper, routes / "a.yaml") == "stale")
    assert models(keeper) == ["m"]


async def test_what_the_log_is_told_quotes_no_line_of_the_file(routes: Path) -> None:
    save(routes / "bad.yaml", "version: 1\nauth: { bearer: sk-secret, typo: 1 }\n")
    keeper = keep(routes)
    await keeper.start()
    (told,) = seen(keeper).named("route_failed")
    assert "typo" in str(told["problems"])
    assert "sk-secret" not in str(told["problems"])


# ---- mounts and links ----


def mount(root: Path, version: str, text: str) -> None:
    """What a kubelet does to a mounted ConfigMap with one file."""
    save(root / version / "a.yaml", text)
    point(root / "..data", version)


async def test_a_config_map_swap_serves(tmp_path: Path) -> None:
    root = tmp_path / "routes"
    mount(root, "..2024_01", route_text("m"))
    point(root / "a.yaml", "..data/a.yaml")
    async with running(keep(root)) as keeper:
        assert [str(root / "a.yaml")] == list(keeper.states)
        mount(root, "..2024_02", route_text("m", "n"))
        shutil.rmtree(root / "..2024_01")
        await until(lambda: models(keeper) == ["m", "n"], 2)
        assert [str(root / "a.yaml")] == list(keeper.states)


async def test_a_root_link_that_is_moved_on_serves(tmp_path: Path) -> None:
    for version, names in {"rev1": ["m"], "rev2": ["m", "n"], "rev3": ["z"]}.items():
        save(tmp_path / version / "a.yaml", route_text(*names))
    link = tmp_path / "current"
    point(link, "rev1")
    async with running(keep(link)) as keeper:
        for version, names in {"rev2": ["m", "n"], "rev3": ["z"]}.items():
            point(link, version)
            await until(offers(keeper, *names))
        save(tmp_path / "rev3/a.yaml", route_text("zz"))
        await until(lambda: models(keeper) == ["zz"], 2)


async def test_the_far_end_of_a_link_is_watched(tmp_path: Path) -> None:
    save(tmp_path / "far/away.yaml", route_text("m"))
    (tmp_path / "routes").mkdir()
    point(tmp_path / "routes/a.yaml", tmp_path / "far/away.yaml")
    async with running(keep(tmp_path / "routes")) as keeper:
        save(tmp_path / "far/away.yaml", route_text("m", "n"))
        await until(lambda: models(keeper) == ["m", "n"], 2)


async def test_a_root_that_is_replaced_is_watched_again(keeper: RouteKeeper, routes: Path) -> None:
    other = (routes / "other.yaml").read_text()
    save(routes.parent / "new/a.yaml", route_text("m", "n"))
    save(routes.parent / "new/other.yaml", other)
    os.rename(routes, routes.parent / "old")
    os.rename(routes.parent / "new", routes)
    await until(lambda: models(keeper) == ["m", "n"])
    save(routes / "a.yaml", route_text("z"))
    await until(lambda: models(keeper) == ["z"], 2)


async def test_a_root_made_anew_in_no_time_is_watched_again(
    keeper: RouteKeeper, routes: Path
) -> None:
    other = (routes / "other.yaml").read_text()
    for names in (["m", "n"], ["z"]):
        shutil.rmtree(routes)
        save(routes / "other.yaml", other)
        save(routes / "a.yaml", route_text(*names))
        await until(offers(keeper, *names), 2)
    save(routes / "a.yaml", route_text("zz"))
    await until(offers(keeper, "zz"), 2)


async def test_a_root_that_vanishes_takes_no_route_away(keeper: RouteKeeper, routes: Path) -> None:
    os.rename(routes, routes.parent / "away")
    await never(lambda: models(keeper) == [], 1.5)
    os.rename(routes.parent / "away", routes)
    save(routes / "a.yaml", route_text("z"))
    await until(lambda: models(keeper) == ["z"])


async def test_a_root_that_appears_late_serves(tmp_path: Path) -> None:
    async with running(keep(tmp_path / "routes")) as keeper:
        assert keeper.book.routes == {}
        folder = {"folder": str(tmp_path / "routes"), "level": "warning"}
        assert seen(keeper).named("folder_unread") == [folder]
        save(tmp_path / "routes/a.yaml", route_text("m"))
        await until(lambda: models(keeper) == ["m"])


async def test_without_events_the_poll_finds_what_changed(routes: Path) -> None:
    async with running(keep(routes, watch="poll", poll=0.3)) as keeper:
        save(routes / "a.yaml", route_text("m", "n"))
        await until(lambda: models(keeper) == ["m", "n"], 2)


CHANGES: dict[str, Callable[[Path], object]] = {
    "an edit": lambda home: save(home / "routes/a.yaml", route_text("m", "n")),
    "a new file": lambda home: save(home / "routes/new.yaml", route_text("new")),
    "a new file in a folder": lambda home: save(home / "routes/sub/new.yaml", route_text("new")),
    "a deletion": lambda home: (home / "routes/other.yaml").unlink(),
    "a rename": lambda home: (home / "routes/a.yaml").rename(home / "routes/b.yaml"),
    "a folder": lambda home: (home / "routes/more").mkdir(),
    "transforms that appear": lambda home: (home / "transforms").mkdir(),
    "a secret": lambda home: save(home / "secrets/key", "another-secret"),
    "the far end of a link": lambda home: save(home / "far.yaml", route_text("f", "g")),
    "a link moved on": lambda home: point(home / "routes/far.yaml", "../farther.yaml"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_glance_sees_each_change_and_looks_no_further_without_one(
    routes: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    home = routes.parent
    save(home / "secrets/key", "a-secret")
    save(routes / "secret.yaml", route_text("s", lines=SECRET))
    save(home / "far.yaml", route_text("f"))
    save(home / "farther.yaml", route_text("g"))
    point(routes / "far.yaml", "../far.yaml")
    for path in (home / "secrets/key", routes / "secret.yaml", home / "far.yaml"):
        age(path)
    keeper = keep(routes, watch="poll", poll=60)
    await keeper.start()
    looks: list[bool] = []

    async def rescan(force: bool = False) -> dict[str, str]:
        looks.append(force)
        return {}

    monkeypatch.setattr(keeper, "rescan", rescan)
    for _ in range(2):
        await keeper._glance()
    assert looks == []
    CHANGES[change](home)
    await keeper._glance()
    assert looks == [False]


async def test_a_file_written_just_now_is_looked_at_again(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m"))
    keeper = keep(routes, watch="poll", poll=60)
    await keeper.start()
    assert not keeper._same()


async def test_a_glance_tells_of_generations(routes: Path) -> None:
    keeper = keep(routes)
    await keeper.start()
    held = keeper.book.routes["a"]
    save(routes / "a.yaml", route_text("m", "n"))
    age(routes / "a.yaml", 30)
    await keeper.rescan()
    counts = [fields["count"] for fields in seen(keeper).named("generations")]
    assert counts[-1] == 2
    assert "m" in held.offers
    del held
    await keeper._glance()
    assert seen(keeper).named("generations")[-1] == {"route": "a", "count": 1}


async def test_a_watcher_that_fails_is_told_and_the_poll_goes_on(
    routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(watch, "awatch", fail)
    async with running(keep(routes, poll=0.3)) as keeper:
        save(routes / "a.yaml", route_text("m", "n"))
        await until(lambda: models(keeper) == ["m", "n"], 2)
        assert seen(keeper).named("watch_failed") == [
            {"error": "no space left on device", "level": "warning"}
        ]


async def test_what_others_do_beside_the_root_is_no_cause_to_look(
    keeper: RouteKeeper, routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []

    async def rescan(force: bool = False) -> dict[str, str]:
        looks.append(force)
        return {}

    await asyncio.sleep(0.2)
    monkeypatch.setattr(keeper, "rescan", rescan)
    for name in ("state.db", "log.txt", "routes/.a.yaml.swp", "routes/a.yaml~"):
        (routes.parent / name).write_text("x")
    await asyncio.sleep(0.3)
    assert looks == []


# ---- dependencies ----


async def test_an_edit_of_a_parent_rebuilds_its_children_only(routes: Path) -> None:
    save(routes / "_family.yaml", route_text("x"))
    save(routes / "child.yaml", "version: 1\nextends: ./_family.yaml\nmodels: [c]\n")
    async with running(keep(routes)) as keeper:
        before = dict(keeper.book.routes)
        save(routes / "_family.yaml", route_text("x", path="/other"))
        await until(lambda: keeper.book.routes["child"] is not before["child"], 1)
        assert before["a"] is keeper.book.routes["a"]
        assert before["other"] is keeper.book.routes["other"]


async def test_a_comment_in_a_parent_changes_nothing(routes: Path) -> None:
    save(routes / "_family.yaml", route_text("x"))
    save(routes / "child.yaml", "version: 1\nextends: ./_family.yaml\nmodels: [c]\n")
    keeper = keep(routes)
    await keeper.start()
    before = keeper.book
    save(routes / "_family.yaml", route_text("x") + "# a comment\n")
    assert (await keeper.rescan())[str(routes / "child.yaml")] == "unchanged"
    assert before is keeper.book


def sends(keeper: RouteKeeper, word: str) -> Callable[[], bool]:
    """Whether the transform of route `t` adds this word."""
    request = HttpRequest("POST", "https://chat.example.com")

    def test() -> bool:
        made = keeper.book.routes["t"].stages[0].loaded.make()
        return made.patch(request).header("X-Word") == word  # type: ignore[no-any-return]

    return test


async def test_an_edit_of_a_transform_of_the_same_size_serves_the_new_code(
    tmp_path: Path,
) -> None:
    save(tmp_path / "routes/t.yaml", route_text("t", lines="transforms: [say]"))
    save(tmp_path / "routes/a.yaml", route_text("m"))
    save(tmp_path / "transforms/say.py", transform_text("one"))
    async with running(keep(tmp_path / "routes")) as keeper:
        before = keeper.book.routes["a"]
        for new in ("two", "six", "ten"):
            save(tmp_path / "transforms/say.py", transform_text(new))
            await until(sends(keeper, new), 1)
        assert before is keeper.book.routes["a"]


async def test_a_broken_transform_keeps_the_last_good_route(tmp_path: Path) -> None:
    path = tmp_path / "routes/t.yaml"
    save(path, route_text("t", lines="transforms: [say]"))
    save(tmp_path / "transforms/say.py", transform_text("one"))
    async with running(keep(tmp_path / "routes")) as keeper:
        before = keeper.book.routes["t"]
        save(tmp_path / "transforms/say.py", "class Transform:\n    def patch(self\n")
        await until(lambda: state(keeper, path) == "stale")
        assert before is keeper.book.routes["t"]
        problem = keeper.states[str(path)].problems[0]
        assert (str(tmp_path / "transforms/say.py"), 2) == (problem.file, problem.line)


async def test_an_own_transform_that_appears_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "routes/t.yaml"
    save(path, route_text("t", lines="transforms: [say]"))
    async with running(keep(tmp_path / "routes")) as keeper:
        assert state(keeper, path) == "broken"
        save(tmp_path / "transforms/say.py", transform_text("one"))
        await until(lambda: state(keeper, path) == "ok")


async def test_an_edit_of_a_secret_file_serves(tmp_path: Path) -> None:
    save(tmp_path / "secrets/key", "one")
    save(tmp_path / "routes/a.yaml", route_text("m", lines=SECRET))
    async with running(keep(tmp_path / "routes")) as keeper:
        before = keeper.book.routes["a"]
        save(tmp_path / "secrets/key", "two")
        await until(lambda: keeper.book.routes["a"] is not before, 1)
        assert keeper.states[str(tmp_path / "routes/a.yaml")].generation == 2


async def test_a_secret_file_that_is_gone_for_a_moment_is_no_error(tmp_path: Path) -> None:
    save(tmp_path / "secrets/key", "one")
    path = tmp_path / "routes/a.yaml"
    save(path, route_text("m", lines=SECRET))
    async with running(keep(tmp_path / "routes")) as keeper:
        (tmp_path / "secrets/key").unlink()
        await never(lambda: state(keeper, path) != "ok", 0.7)
        save(tmp_path / "secrets/key", "two")
        await until(lambda: keeper.states[str(path)].generation == 2, 1)
        assert seen(keeper).named("route_failed") == []


# ---- names and models ----


async def test_a_rename_with_the_same_name_changes_nothing(
    keeper: RouteKeeper, routes: Path
) -> None:
    save(routes / "b.yaml", route_text("n", lines="name: same"))
    await until(lambda: models(keeper, "same") == ["n"], 1)
    book = keeper.book
    (routes / "b.yaml").rename(routes / "c.yaml")
    await until(lambda: state(keeper, routes / "c.yaml") == "ok", 2)
    assert (
        state(keeper, routes / "b.yaml"),
        keeper.states[str(routes / "c.yaml")].generation,
    ) == ("", 1)
    await never(lambda: keeper.book is not book, 1.2)


async def test_a_rename_without_a_name_moves_the_route(keeper: RouteKeeper, routes: Path) -> None:
    (routes / "a.yaml").rename(routes / "b.yaml")
    await until(lambda: (models(keeper, "a"), models(keeper, "b")) == ([], ["m"]), 3)


async def test_a_second_file_of_a_name_is_refused_until_the_first_is_gone(
    keeper: RouteKeeper, routes: Path
) -> None:
    before = keeper.book.routes["a"]
    save(routes / "b.yaml", route_text("n", lines="name: a"))
    await until(lambda: state(keeper, routes / "b.yaml") == "broken", 1)
    assert before is keeper.book.routes["a"]
    assert [p.code for p in keeper.states[str(routes / "b.yaml")].problems] == ["E502"]
    (routes / "a.yaml").unlink()
    await until(lambda: models(keeper) == ["n"], 2)
    assert state(keeper, routes / "b.yaml") == "ok"
    assert keeper.states[str(routes / "b.yaml")].generation == 2


async def test_a_model_clash_refuses_the_newer_definition(
    keeper: RouteKeeper, routes: Path
) -> None:
    before = keeper.book
    save(routes / "a.yaml", route_text("m", "other"))
    await until(lambda: state(keeper, routes / "a.yaml") == "stale", 1)
    assert before is keeper.book
    (told,) = seen(keeper).named("route_clash")
    assert (told["route"], told["state"]) == ("a", "stale")
    save(routes / "a.yaml", route_text("m", "other", lines="priority: 1"))
    await until(lambda: state(keeper, routes / "a.yaml") == "ok", 1)
    assert keeper.book.offers["other"][0].name == "a"


async def test_a_refused_route_comes_in_when_the_model_is_free(routes: Path) -> None:
    save(routes / "b.yaml", route_text("m"))
    async with running(keep(routes)) as keeper:
        assert state(keeper, routes / "b.yaml") == "broken"
        save(routes / "a.yaml", route_text("n"))
        await until(lambda: state(keeper, routes / "b.yaml") == "ok", 1)
        assert (models(keeper, "a"), models(keeper, "b")) == (["n"], ["m"])


async def test_a_model_may_move_from_one_file_to_another_at_once(routes: Path) -> None:
    keeper = keep(routes)
    await keeper.start()
    save(routes / "a.yaml", route_text("m", "moved"))
    await keeper.rescan()
    save(routes / "a.yaml", route_text("m"))
    save(routes / "0.yaml", route_text("moved"))
    results = await keeper.rescan()
    assert [results[str(routes / f"{name}.yaml")] for name in ("a", "0")] == ["ok", "ok"]
    assert keeper.book.offers["moved"][0].name == "0"


async def test_two_files_may_exchange_their_models(routes: Path) -> None:
    save(routes / "zzz.yaml", route_text("other"))
    keeper = keep(routes)
    await keeper.start()
    save(routes / "a.yaml", route_text("other"))
    save(routes / "other.yaml", route_text("m"))
    results = await keeper.rescan()
    found = {Path(file).stem: result for file, result in results.items()}
    assert found == {"a": "ok", "other": "ok", "zzz": "broken"}
    assert (models(keeper, "a"), models(keeper, "other")) == (["other"], ["m"])


async def test_two_files_may_exchange_their_names(routes: Path) -> None:
    keeper = keep(routes)
    await keeper.start()
    save(routes / "a.yaml", route_text("m", lines="name: other"))
    save(routes / "other.yaml", route_text("other", lines="name: a"))
    await keeper.rescan()
    assert (models(keeper, "a"), models(keeper, "other")) == (["other"], ["m"])


async def test_a_later_folder_serves_what_an_earlier_one_gives_up(tmp_path: Path) -> None:
    save(tmp_path / "one/a.yaml", route_text("first"))
    save(tmp_path / "two/a.yaml", route_text("second"))
    async with running(keep(tmp_path / "one", tmp_path / "two")) as keeper:
        assert models(keeper) == ["first"]
        (tmp_path / "one/a.yaml").unlink()
        await until(lambda: models(keeper) == ["second"], 2)
        save(tmp_path / "one/a.yaml", BROKEN)
        await until(lambda: state(keeper, tmp_path / "one/a.yaml") == "stale")
        assert models(keeper) == ["second"]
        save(tmp_path / "one/a.yaml", route_text("first"))
        await until(lambda: models(keeper) == ["first"], 2)


# ---- states without a route ----


async def test_a_route_without_its_variable_is_disabled_until_it_is_set(routes: Path) -> None:
    env: dict[str, str] = {}
    save(routes / "b.yaml", route_text("n", lines='auth: { bearer: "${env:KEY}" }'))
    keeper = keep(routes, env=env)
    await keeper.start()
    assert (state(keeper, routes / "b.yaml"), models(keeper, "b")) == ("disabled", [])
    env["KEY"] = "k"
    assert (await keeper.rescan())[str(routes / "b.yaml")] == "disabled"
    assert (await keeper.rescan(force=True))[str(routes / "b.yaml")] == "ok"
    assert models(keeper, "b") == ["n"]


async def test_a_route_that_begins_to_want_a_variable_stays_as_it_was(routes: Path) -> None:
    keeper = keep(routes)
    await keeper.start()
    save(routes / "a.yaml", route_text("m", lines='auth: { bearer: "${env:KEY}" }'))
    assert (await keeper.rescan(force=True))[str(routes / "a.yaml")] == "stale"
    assert models(keeper) == ["m"]


@pytest.mark.parametrize(
    ("line", "expected"), [("enabled: false", "disabled"), ("abstract: true", "abstract")]
)
async def test_a_route_that_is_withdrawn_serves_no_more(
    keeper: RouteKeeper, routes: Path, line: str, expected: str
) -> None:
    save(routes / "a.yaml", route_text("m", lines=line))
    await until(lambda: state(keeper, routes / "a.yaml") == expected, 1)
    assert models(keeper) == []


# ---- what is asked for ----


async def test_a_forced_look_tells_the_result_of_each_file(routes: Path) -> None:
    for name in ("gone", "bad", "new"):
        save(routes / f"{name}.yaml", route_text(name))
    (routes / "new.yaml").unlink()
    keeper = keep(routes)
    await keeper.start()
    (routes / "gone.yaml").unlink()
    save(routes / "bad.yaml", BROKEN)
    save(routes / "new.yaml", route_text("new"))
    save(routes / "worse.yaml", "")
    save(routes / "_base.yaml", "")
    results = await keeper.rescan(force=True)
    found = {Path(file).stem: result for file, result in results.items()}
    assert found == {
        "a": "unchanged",
        "other": "unchanged",
        "gone": "removed",
        "bad": "stale",
        "new": "ok",
        "worse": "broken",
    }


async def test_an_abstract_file_is_ok_once_and_then_unchanged(routes: Path) -> None:
    keeper = keep(routes)
    await keeper.start()
    save(routes / "base.yaml", route_text("x", lines="abstract: true"))
    found = [(await keeper.rescan())[str(routes / "base.yaml")] for _ in range(2)]
    assert found == ["ok", "unchanged"]


async def test_a_file_whose_text_moves_under_the_look_waits(
    routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keep(routes)
    await keeper.start()
    save(routes / "a.yaml", route_text("half"))
    sleep = asyncio.sleep

    async def write_meanwhile(seconds: float) -> None:
        await sleep(seconds)
        save(routes / "a.yaml", route_text("whole"))

    monkeypatch.setattr(keeper._clock, "sleep", write_meanwhile)
    await keeper.rescan()
    assert models(keeper) == ["m"]
    monkeypatch.setattr(keeper._clock, "sleep", sleep)
    await keeper.rescan()
    assert models(keeper) == ["whole"]


async def test_a_swap_is_told_with_both_books(routes: Path) -> None:
    swaps: list[tuple[RouteBook, RouteBook]] = []
    keeper = keep(routes, on_swap=lambda old, new: swaps.append((old, new)))
    await keeper.start()
    first = keeper.book
    save(routes / "a.yaml", route_text("m", "n"))
    await keeper.rescan()
    await keeper.rescan()
    assert [({}, first.routes), (first.routes, keeper.book.routes)] == [
        (old.routes, new.routes) for old, new in swaps
    ]


# ---- generations ----


async def test_generations_in_use_are_counted_and_a_pile_is_told_once(routes: Path) -> None:
    keeper = keep(routes)
    await keeper.start()
    held = [keeper.book.routes["a"]]
    for at in range(6):
        save(routes / "a.yaml", route_text(f"m{at}"))
        await keeper.rescan()
        held.append(keeper.book.routes["a"])
    assert keeper.generations("a") == 7
    told = seen(keeper).named("generations")
    counts = [fields["count"] for fields in told if fields["route"] == "a"]
    assert counts == [1, 2, 3, 4, 5, 6, 7]
    assert [fields["count"] for fields in seen(keeper).named("generations_piled")] == [5, 6, 7]
    assert keeper.states[str(routes / "a.yaml")].generation == 7
    held.clear()
    assert keeper.generations("a") == 1
    await keeper.rescan()
    assert seen(keeper).named("generations")[-1]["count"] == 1
