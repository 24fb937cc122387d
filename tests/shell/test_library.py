import errno
import os
from pathlib import Path

import pytest

from engine.route.compile import Compiled
from engine.route.route import Route
from engine.shell import bundle, library
from engine.shell.library import Library, Table
from tests.shell.samples import route_text, save, transform_text

NAMED = "transforms: [say]"


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of our own, so that the tests depend on no shipped file."""
    root = tmp_path / "bundle"
    monkeypatch.setattr(bundle, "_BUNDLE", root)
    save(root / "routes/presets/plain.yaml", route_text("p", lines="abstract: true"))
    save(root / "routes/examples/odd.yaml", route_text("odd"))
    save(root / "routes/official.yaml", route_text("official"))
    save(root / "transforms/say.py", transform_text("shipped"))
    return root


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    folder = tmp_path / "own/routes"
    folder.mkdir(parents=True)
    return folder


def codes(compiled: Compiled) -> list[str]:
    return [problem.code for problem in compiled.problems]


def names(found: list[Path]) -> list[str]:
    return [path.name for path in found]


# ---- scan ----


def test_routes_are_found_in_folders_within_folders_in_order(routes: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/c.yaml"):
        save(routes / name, route_text("m"))
    assert names(Library([routes], env={}).scan()) == ["a.yml", "b.yaml", "c.yaml"]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.yaml",
        "..data/a.yaml",
        "..2024_01/a.yaml",
        "_family.yaml",
        "_lib/a.yaml",
        "presets/a.yaml",
        "a.yaml~",
        ".a.yaml.swp",
        "a.yaml.tmp",
        "#a.yaml#",
        ".#a.yaml",
        "#a.yaml",
        "a.json",
    ],
)
def test_what_is_no_route_is_skipped(routes: Path, name: str) -> None:
    save(routes / name, route_text("m"))
    assert Library([routes], env={}).scan() == []


def test_a_folder_presets_further_down_is_a_folder_like_others(routes: Path) -> None:
    save(routes / "sub/presets/a.yaml", route_text("m"))
    assert names(Library([routes], env={}).scan()) == ["a.yaml"]


def test_a_mounted_config_map_lists_each_file_once(routes: Path) -> None:
    save(routes / "..2024_01/a.yaml", route_text("m"))
    (routes / "..data").symlink_to("..2024_01")
    (routes / "a.yaml").symlink_to("..data/a.yaml")
    assert [routes / "a.yaml"] == Library([routes], env={}).scan()


def test_links_are_followed_and_one_that_leads_back_does_not_matter(
    routes: Path, tmp_path: Path
) -> None:
    save(tmp_path / "elsewhere/a.yaml", route_text("m"))
    (routes / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(routes)
    assert [routes / "link/a.yaml"] == Library([routes], env={}).scan()


def test_the_first_folder_with_a_route_name_wins(routes: Path, tmp_path: Path) -> None:
    save(routes / "mine.yaml", route_text("m", lines="name: same"))
    save(tmp_path / "two/same.yaml", route_text("m"))
    save(tmp_path / "two/other.yaml", route_text("n"))
    both = Library([routes, tmp_path / "two"], env={})
    assert names(both.scan()) == ["mine.yaml", "other.yaml"]
    assert {str(routes / "mine.yaml"): (str(tmp_path / "two/same.yaml"),)} == both.shadows


def test_two_files_of_one_name_in_one_folder_are_both_listed(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m"))
    save(routes / "b.yaml", route_text("m", lines="name: a"))
    assert names(Library([routes], env={}).scan()) == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("name: kimi", "kimi"),
        ("name:   'kimi'  # a comment", "kimi"),
        ('name: "ki mi"', "ki mi"),
        ("#name: kimi", "file"),
        ("name:", "file"),
        ("vars:\n  name: kimi", "file"),
    ],
)
def test_a_name_is_seen_without_parsing(routes: Path, line: str, name: str) -> None:
    save(routes / "file.yaml", f"version: 1\n{line}\nmodels: [m]\n")
    assert name == Library([routes], env={}).name(str(routes / "file.yaml"))


def test_shipped_routes_come_last_and_without_presets_and_examples(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m"))
    found = Library([routes], env={}, bundled=True).scan()
    assert names(found) == ["a.yaml", "official.yaml"]


def test_examples_are_served_when_their_folder_is_named(shipped: Path) -> None:
    assert names(Library([shipped / "routes/examples"], env={}).scan()) == ["odd.yaml"]


def test_a_folder_that_is_not_there_is_told_apart_from_an_empty_one(routes: Path) -> None:
    missing = Library([routes, routes / "none"], env={})
    assert ([], [str(routes / "none")]) == (missing.scan(), missing.unlisted)


def test_a_folder_inside_another_lists_no_file_twice(routes: Path) -> None:
    save(routes / "sub/a.yaml", route_text("m"))
    both = Library([routes, routes / "sub"], env={})
    assert (both.scan(), both.shadows) == ([routes / "sub/a.yaml"], {})


def test_a_folder_that_refuses_is_unlisted_and_one_that_went_away_is_gone(
    routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def scan(path: str) -> object:
        for name, code in {"sealed": errno.EACCES, "gone": errno.ENOENT}.items():
            if str(path).endswith(name):
                raise OSError(code, os.strerror(code), path)
        return scandir(path)

    for name in ("sealed", "gone", "open"):
        save(routes / name / f"{name}.yaml", route_text("m"))
    monkeypatch.setattr(os, "scandir", scan)
    some = Library([routes], env={})
    assert names(some.scan()) == ["open.yaml"]
    assert some.unlisted == [str(routes / "sealed")]


# ---- load ----


def test_a_route_is_compiled(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m"))
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    assert ([], (str(routes / "a.yaml"),)) == (compiled.problems, compiled.files)
    assert compiled.route is not None


def test_a_file_that_is_not_there_is_a_problem(routes: Path) -> None:
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    assert codes(compiled) == ["E001"]
    assert "No such file" in compiled.problems[0].message


def test_a_mistake_of_the_compiler_is_a_problem_of_that_file(
    routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Compiled:
        raise KeyError("oops")

    monkeypatch.setattr(library, "compile_route", fail)
    save(routes / "a.yaml", route_text("m"))
    assert codes(Library([routes], env={}).load(routes / "a.yaml")) == ["E599"]


def test_a_parent_file_is_relative_to_the_file_that_names_it(routes: Path) -> None:
    save(routes / "a.yaml", "version: 1\nextends: ./lib/_one.yaml\nmodels: [m]\n")
    save(routes / "lib/_one.yaml", "version: 1\nextends: ../_two.yaml\nabstract: true\n")
    save(routes / "_two.yaml", route_text("x"))
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    files = tuple(str(routes / name) for name in ("a.yaml", "lib/_one.yaml", "_two.yaml"))
    assert ([], files) == (compiled.problems, compiled.files)


def test_a_preset_comes_from_the_bundle(routes: Path, shipped: Path) -> None:
    save(routes / "a.yaml", "version: 1\nextends: plain\nmodels: [m]\n")
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    assert ([], str(shipped / "routes/presets/plain.yaml")) == (
        compiled.problems,
        compiled.files[1],
    )


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ("plian", "no preset `plian`; did you mean `plain`?"),
        ("./none.yaml", "cannot read `./none.yaml`: No such file or directory"),
        ("family.yaml", "no preset `family.yaml`; a file is written `./…`"),
        ("lib/family", "no preset `lib/family`; a file is written `./…`"),
    ],
)
def test_a_parent_that_is_not_there_is_told(routes: Path, parent: str, message: str) -> None:
    save(routes / "a.yaml", f"version: 1\nextends: {parent}\nmodels: [m]\n")
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    found = {problem.code: problem.message for problem in compiled.problems}
    assert message == found["E204"]


def test_a_missing_file_is_among_what_was_looked_at(routes: Path) -> None:
    save(routes / "a.yaml", "version: 1\nextends: ./none.yaml\nmodels: [m]\n")
    reading = Library([routes], env={}).read(routes / "a.yaml")
    assert reading.digests[str(routes / "none.yaml")] == ""
    assert (str(routes / "a.yaml"),) == reading.compiled.files


def test_the_environment_is_what_was_given(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines='auth: { bearer: "${env:KEY}" }'))
    found = [Library([routes], env=env).load(routes / "a.yaml") for env in ({"KEY": "k"}, {})]
    assert [compiled.unset for compiled in found] == [(), ("KEY",)]
    assert [compiled.only_unset for compiled in found] == [False, True]


def test_a_referenced_file_is_relative_to_the_route(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines='auth: { bearer: "${file:../key}" }'))
    save(routes / "../key", "secret\n")
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    assert ([], str(routes / "../key")) == (compiled.problems, compiled.files[1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * (1024**2 + 1), "larger than 1024 KiB"),
        (b"\xff", "not UTF-8: byte 0"),
        (None, "No such file or directory"),
    ],
)
def test_a_referenced_file_that_cannot_be_used_is_told(
    routes: Path, data: bytes | None, message: str
) -> None:
    save(routes / "a.yaml", route_text("m", lines='auth: { bearer: "${file:key}" }'))
    if data is not None:
        (routes / "key").write_bytes(data)
    compiled = Library([routes], env={}).load(routes / "a.yaml")
    assert codes(compiled) == ["E203"]
    assert message in compiled.problems[0].message


# ---- transforms ----


def test_a_transform_comes_from_the_bundle(routes: Path, shipped: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines=NAMED))
    reading = Library([routes], env={}).read(routes / "a.yaml")
    assert reading.compiled.problems == []
    assert str(shipped / "transforms/say.py") == reading.transforms["say"][0]


def test_an_own_transform_shadows_a_shipped_one(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines=NAMED))
    save(routes / "../transforms/say.py", transform_text("own"))
    reading = Library([routes], env={}).read(routes / "a.yaml")
    assert codes(reading.compiled) == ["W401"]
    assert str(routes.parent / "transforms/say.py") == reading.transforms["say"][0]


def test_own_transforms_can_be_switched_off(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines="transforms: [say]"))
    save(routes / "b.yaml", route_text("m", lines="transforms: [mine]"))
    for name in ("say", "mine"):
        save(routes / f"../transforms/{name}.py", transform_text("own"))
    off = Library([routes], env={}, own_transforms=False)
    assert codes(off.load(routes / "a.yaml")) == []
    told = [problem.message for problem in off.load(routes / "b.yaml").problems]
    assert "transform `mine` is not shipped, and `transforms.own` is off" in told


@pytest.mark.parametrize("own", [True, False])
def test_an_unknown_transform_has_a_hint(routes: Path, own: bool) -> None:
    save(routes / "a.yaml", route_text("m", lines="transforms: [sya]"))
    compiled = Library([routes], env={}, own_transforms=own).load(routes / "a.yaml")
    assert [problem.message for problem in compiled.problems] == [
        "no transform `sya`; did you mean `say`?"
    ]


def test_a_transform_outside_the_folders_is_not_found(routes: Path, tmp_path: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines="transforms: [../evil]"))
    save(routes.parent / "evil.py", transform_text("evil"))
    assert "E421" in codes(Library([routes], env={}).load(routes / "a.yaml"))


def test_a_shipped_route_has_no_own_transforms(shipped: Path) -> None:
    save(shipped / "routes/a.yaml", route_text("m", lines=NAMED))
    off = Library([], env={}, bundled=True, own_transforms=False)
    assert codes(off.load(shipped / "routes/a.yaml")) == []


def test_a_file_outside_all_folders_has_its_own_folder_as_home(routes: Path) -> None:
    save(routes / "a.yaml", route_text("m", lines="transforms: [mine]"))
    save(routes / "../transforms/mine.py", transform_text("own"))
    assert codes(Library([], env={}).load(routes / "a.yaml")) == []


def test_transforms_of_a_relative_folder_are_beside_it(
    routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(routes)
    found = [Library([], env={}).beside(Path(name)) for name in (".", "../routes", "sub")]
    assert [routes.parent / "transforms", Path("../transforms"), Path("transforms")] == found


def test_no_byte_of_a_transform_runs_without_execute(routes: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    text = transform_text("own") + f"\n\nclass Proof:\n    print({str(ran)!r}, file=None)\n"
    save(routes / "a.yaml", route_text("m", lines="transforms: [mine]"))
    save(routes / "../transforms/mine.py", text)
    reading = Library([routes], env={}, execute=False).read(routes / "a.yaml")
    assert "mine" in reading.transforms


# ---- many ----


def test_five_hundred_routes_are_loaded(routes: Path) -> None:
    save(routes / "_family.yaml", route_text("x"))
    for at in range(500):
        save(routes / f"r{at}.yaml", f"version: 1\nextends: ./_family.yaml\nmodels: [m{at}]\n")
    many = Library([routes], env={})
    found = [many.load(path) for path in many.scan()]
    assert sum(compiled.route is not None for compiled in found) == 500


# ---- table ----


def route(folder: Path, name: str, *models: str, lines: str = "") -> Route:
    save(folder / f"{name}.yaml", route_text(*models, lines=lines))
    compiled = Library([folder], env={}).load(folder / f"{name}.yaml")
    assert compiled.route is not None
    return compiled.route


def test_a_table_refuses_a_second_route_of_a_name(routes: Path) -> None:
    table = Table()
    table.add(route(routes, "a", "m"))
    problems = table.refuse(route(routes, "b", "n", lines="name: a"))
    assert [problem.code for problem in problems] == ["E502"]
    assert str(routes / "a.yaml") in problems[0].message


def test_a_table_refuses_a_model_of_equal_priority(routes: Path) -> None:
    table = Table()
    table.add(route(routes, "a", "m", "n"))
    assert [p.code for p in table.refuse(route(routes, "b", "n"))] == ["E501"]
    assert table.refuse(route(routes, "c", "n", lines="priority: 1")) == []


def test_a_route_may_take_the_place_of_its_former_self(routes: Path) -> None:
    table = Table()
    old, new = route(routes, "a", "m"), route(routes, "a", "m", "n")
    table.add(old)
    assert table.refuse(new, old) == []
    table.drop(old)
    table.add(new)
    assert ({"a": new}, new) == (table.names, table.models["n", 0])
