"""Pages say what is true: they are checked, played and read by what they are about."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import engine.transform
from engine.cli import VERBS, main
from engine.dialects.outcomes import ANSWERS
from engine.errors import OUTCOMES
from engine.replay.fixtures import read_fixture
from engine.route.codes import CODES
from engine.route.fields import fields_of
from engine.route.filters import FILTERS, FUNCTIONS
from engine.route.schema import reference
from engine.route.spec import RouteSpec

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def fences(name: str, *kinds: str) -> list[str]:
    """The contents of a page's fences of these kinds, in order."""
    return [text for kind, text in _FENCE.findall(text_of(name)) if kind in kinds]


def prose(name: str) -> str:
    return _FENCE.sub("", text_of(name))


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(args))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


# ---- the reference page ----


def test_the_reference_page_is_up_to_date() -> None:
    """If not: `python -m engine schema --docs > docs/reference.md`."""
    assert reference(RouteSpec) == (DOCS / "reference.md").read_text("utf-8")


def test_the_reference_page_names_everything_there_is() -> None:
    page = reference(RouteSpec)
    for word in (*fields_of(RouteSpec), *FILTERS, *FUNCTIONS, *OUTCOMES, *CODES):
        assert f"`{word}`" in page or f"`{word}(" in page, word


def test_every_link_of_the_reference_page_leads_somewhere() -> None:
    page = reference(RouteSpec)
    targets = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert targets
    for target in targets:
        assert f'<a id="{target}"></a>' in page, target


# ---- fences ----


def _with(kind: str) -> list[str]:
    return [name for name in NAMES if fences(name, kind)]


@pytest.mark.parametrize("name", _with("yaml"))
@pytest.mark.rows("K2-39")
def test_every_yaml_fence_is_a_whole_file_without_a_mistake(name: str) -> None:
    code, output = run("check", str(ROOT / name), "--deny-warnings")
    assert code == 0, output


def _fixtures() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        for fence in fences(name, "yaml"):
            if fence.startswith("fixture:"):
                yield name, fence


def test_every_fixture_fence_is_a_fixture() -> None:
    found = [read_fixture(fence.encode(), name, lambda path: b"") for name, fence in _fixtures()]
    assert len(found) > 10


@pytest.mark.parametrize("name", _with("python"))
def test_every_python_fence_compiles(name: str) -> None:
    for fence in fences(name, "python"):
        compile(fence, name, "exec")


# ---- what can be played ----


def _shelve(folder: Path, blocks: list[str]) -> list[str]:
    """Routes and fixtures as files, each under the name it has; gives the routes' names."""
    names = []
    for block in blocks:
        kind, key = ("fixtures", "route") if block.startswith("fixture:") else ("routes", "name")
        hit = re.search(rf"^{key}: (\S+)", block, re.M)
        assert hit is not None, block
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / f"{hit[1]}.yaml").write_text(block)
        names += [hit[1]] if kind == "routes" else []
    return names


def test_every_recipe_of_the_cookbook_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = fences("docs/cookbook.md", "yaml")
    monkeypatch.chdir(tmp_path)
    names = _shelve(tmp_path, blocks)
    code, output = run("test")
    assert code == 0, output
    assert f"{len(names)} fixtures: {len(names)} ok, 0 failed" in output
    assert 2 * len(names) == len(blocks)


def test_the_page_of_transforms_has_every_field_of_what_they_are_handed() -> None:
    part = text_of("docs/transforms.md").partition("### What they are handed")[2]
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (.*)\|$", part.partition("\n### ")[0], re.M)
    words = {name: getattr(engine.transform, name) for name in engine.transform.__all__}
    fields = {
        name: [field.name for field in dataclasses.fields(word)]
        for name, word in words.items()
        if isinstance(word, type) and dataclasses.is_dataclass(word) and name not in KINDS
    }
    told = {name: re.findall(r"`(\w+)`", _bare(row)) for name, row in rows}
    assert told == fields


KINDS = {"Condition", "Path", "Template", "Citation", "SpokenCall"}  # told elsewhere, or by none


def _bare(row: str) -> str:
    """A row without what it says in brackets and behind its list."""
    return re.sub(r"\([^)]*\)|[:;.] .*", "", row)


def test_the_cookbook_lists_its_recipes() -> None:
    page = text_of("docs/cookbook.md")
    headings = re.findall(r"^## (.+)", page, re.M)
    assert headings == re.findall(r"^- \[(.+?)\]\(#", page, re.M)
    assert 10 <= len(headings)


def _session(name: str, verb: str) -> list[str]:
    """What a page shows of a verb: the output below `$ penstock VERB …`, timings left out."""
    shown = [fence for fence in fences(name, "console") if fence.startswith(f"$ penstock {verb}")]
    return [_timeless(fence.partition("\n")[2]) for fence in shown]


def _timeless(output: str) -> str:
    return re.sub(r"\(\d+\.\d+ s\)", "(0.00 s)", output)


def test_the_guide_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, whole, hello, busy, server = fences("docs/guide.md", "yaml")
    for folder in ("routes", "fixtures"):
        (tmp_path / folder).mkdir()
    route = tmp_path / "routes" / "parrot.yaml"
    clean, mistaken = _session("docs/guide.md", "check")
    route.write_text(first)
    assert (0, clean) == run("check")
    route.write_text(first.replace("match", "mach", 1))
    assert (1, mistaken) == run("check")
    route.write_text(first)
    assert (0, *_session("docs/guide.md", "explain")) == run(
        "explain", "parrot", "--prompt", "Good morning"
    )
    route.write_text(whole)
    (tmp_path / "fixtures" / "hello.yaml").write_text(hello)
    (tmp_path / "fixtures" / "busy.yaml").write_text(busy)
    code, output = run("test")
    assert (0, *_session("docs/guide.md", "test")) == (code, _timeless(output))
    monkeypatch.setenv("PARROT_KEY", "pk-ecabd2f7")
    monkeypatch.setenv("PENSTOCK_API_KEY", "5f0c6a1be2d94b7789aa")
    (tmp_path / "penstock.yaml").write_text(server)
    assert (0, clean) == run("check", "penstock.yaml")
    assert "pk-ecabd2f7" not in run("explain", "parrot", "--stream")[1]


def test_the_draft_of_the_page_is_what_is_drafted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked, answer = fences("docs/drafts.md", "text")[:2]
    (tmp_path / "answer.txt").write_text(answer)
    args = ["new", "--from-curl", "-", "--answer", "answer.txt", "--name", "parrot"]
    result = CliRunner().invoke(main, args, input=asked)
    assert (0, *_session("docs/drafts.md", "new")) == (result.exit_code, result.output)
    assert fences("docs/drafts.md", "yaml") == [(tmp_path / "routes/parrot.yaml").read_text()]


def test_the_route_of_the_readme_asks_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (route,) = fences("README.md", "yaml")
    (tmp_path / "parrot.yaml").write_text(route)
    monkeypatch.setenv("PARROT_USER", "ann")
    monkeypatch.setenv("PARROT_PASSWORD", "a-word-of-hers")
    code, output = run("explain", str(tmp_path / "parrot.yaml"))
    assert code == 0, output
    assert "POST https://chat.example.com/api/login" in output
    assert "POST https://chat.example.com/api/ask" in output
    assert "Authorization: Bearer «values.token»" in output
    assert "heat" not in output
    assert "a-word-of-hers" not in output


# ---- commands ----


def _lines(name: str) -> Iterator[str]:
    """Every shell command line of a page: of its fences, and in its text between backticks."""
    for fence in fences(name, "sh", "bash"):
        yield from fence.replace("\\\n", " ").splitlines()
    for fence in fences(name, "console"):
        yield from (line[2:] for line in fence.splitlines() if line.startswith("$ "))
    yield from (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose(name)))


def _commands(name: str) -> Iterator[list[str]]:
    """The arguments of each call of `penstock` or `python -m engine` on a page."""
    for line in _lines(name):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        end = next((at for at, word in enumerate(words) if word in ("|", "&&", ">", ";")), None)
        words = words[:end]
        if len(words) > 1 and words[0].rpartition("/")[2] == "penstock":
            yield words[1:]
        elif words[1:3] == ["-m", "engine"]:
            yield words[3:]


def _options(verb: str) -> set[str]:
    """All option names of a verb; of the command itself for ""."""
    context = click.Context(main)
    command = main.get_command(context, verb) if verb else main
    assert command is not None
    named = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    return {name for option in named for name in (*option.opts, *option.secondary_opts)} | {"-h"}


def _wrong(words: list[str]) -> str:
    """What no `penstock` understands of a command line, "" if it does."""
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb == "VERB":
        return ""
    if verb and verb not in VERBS:
        return f"no verb {verb}"
    known = _options(verb)
    options = [word.partition("=")[0] for word in words if re.match(r"--?\w", word)]
    return " ".join(option for option in options if option not in known)


@pytest.mark.parametrize("name", NAMES)
def test_command_lines_have_verbs_and_options_that_exist(name: str) -> None:
    assert [] == [(words, wrong) for words in _commands(name) if (wrong := _wrong(words))]


def test_a_command_line_that_is_wrong_is_seen() -> None:
    assert _wrong(["serv"]) == "no verb serv"
    assert _wrong(["check", "--online"]) == "--online"
    assert len(list(_commands("docs/cli.md"))) > 10


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_commands_has_every_option(verb: str) -> None:
    hit = re.search(rf"^## {verb}\n(.*?)(?=^## |\Z)", text_of("docs/cli.md"), re.M | re.S)
    assert hit is not None
    shown = set(re.findall(r"(?<![\w-])--?\w[\w-]*", hit[1]))
    assert set() == {name for name in _options(verb) - {"--help", "-h"} if name not in shown}
    assert set() == {name for name in shown if name.startswith("--")} - _options(verb)


def _targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", text_of("Makefile"), re.M))


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_on_pages_exist(name: str) -> None:
    told = {words[1] for line in _lines(name) if (words := line.split())[:1] == ["make"]}
    assert set() == told - _targets()


def test_the_readme_begins_with_the_two_commands() -> None:
    (first, *_) = fences("README.md", "sh")
    assert ["make run", "make test"] == [
        line.partition("#")[0].strip() for line in first.splitlines()
    ]
    assert {"run", "test"} <= _targets()


# ---- links and names ----


def _anchors(path: Path) -> set[str]:
    page = path.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)", _FENCE.sub("", page), re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', page))


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), link
        assert not anchor or anchor in _anchors(path), link


def test_the_architecture_names_what_is_there() -> None:
    page = text_of("ARCHITECTURE.md")
    named = set(re.findall(r"`([\w.-]+/[\w./-]*)`", page)) | set(
        re.findall(r"\bdocs/\w+\.md", page)
    )
    missing = {name for name in named if not _is_there(name)}
    assert set() == missing
    assert len(named) > 40
    assert len(page.splitlines()) <= 110, "two screens"


def _is_there(name: str) -> bool:
    path = ROOT / name
    return path.parent.is_dir() if "NAME" in name else path.exists()


def test_the_table_of_classes_says_what_the_engine_does() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (\w+) \| (\w+) \|$", text_of("docs/language.md"), re.M
    )
    words = {True: "yes", False: "no"}
    assert rows == [
        (name, str(ANSWERS[name].openai.status), words[outcome.retry], words[outcome.renew])
        for name, outcome in OUTCOMES.items()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_pages_name_no_machine_and_no_registry(name: str) -> None:
    assert [] == re.findall(
        r"(?i)pypi|/(?:root|home|tmp)/|test\.pypi|npmjs|docker\.io", text_of(name)
    )


# ---- what runs elsewhere ----


@pytest.mark.rows("K2-38")
def test_the_image_runs_a_command_that_exists_as_nobody_in_particular() -> None:
    lines = text_of("Dockerfile").splitlines()
    (command,) = [yaml.load(line[4:], yaml.SafeLoader) for line in lines if line.startswith("CMD ")]
    assert "" == _wrong(command)
    assert 'ENTRYPOINT ["penstock"]' in lines
    assert "USER 10001:10001" in lines
    copied = [
        line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line
    ]
    assert all((ROOT / name).exists() for names in copied for name in names)


def test_the_compose_file_keeps_the_container_small() -> None:
    service = yaml.load(text_of("deploy/compose.yaml"), yaml.SafeLoader)["services"]["penstock"]
    assert "10001:10001" == service["user"]
    assert service["read_only"] is True
    assert "./routes:/routes:ro" in service["volumes"]


def test_the_unit_runs_a_command_that_exists() -> None:
    hit = re.search(r"^ExecStart=\S+/penstock (.+)$", text_of("deploy/penstock.service"), re.M)
    assert hit is not None
    assert "" == _wrong(hit[1].split())


@pytest.mark.rows("KB-16", "IB-1")
def test_the_shipped_server_file_wants_a_client_key(monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(ROOT / "deploy" / "penstock.yaml")
    monkeypatch.setenv("PENSTOCK_API_KEY", "a-key-of-a-client")
    assert 0 == run("check", file)[0]
    monkeypatch.delenv("PENSTOCK_API_KEY")
    for verb in (("check", file), ("serve", "--config", file, "--port", "0")):
        code, output = run(*verb)
        assert (1, True) == (code, "set a client key" in output)
