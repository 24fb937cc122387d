import os
import time
from pathlib import Path

import pytest

from engine.shell.files import MAX_BYTES, Files
from tests.shell.samples import age, replace

NOW = 1_000_000_000.0


def written(path: Path, text: str, at: float) -> str:
    path.write_text(text)
    os.utime(path, (at, at))
    return str(path)


def test_a_file_is_read_once_in_a_look(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one", NOW)
    files = Files()
    files.look(NOW + 60)
    first = files.get(path)
    written(tmp_path / "a", "two", NOW + 1)
    assert first is files.get(path)


def test_a_new_look_sees_a_new_stamp(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one", NOW)
    files = Files()
    files.look(NOW + 60)
    files.get(path)
    written(tmp_path / "a", "two", NOW + 1)
    files.look(NOW + 61)
    assert files.get(path).data == b"two"


def test_an_old_file_with_the_same_stamp_is_not_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one", NOW)
    files = Files()
    files.look(NOW + 60)
    first = files.get(path)
    files.look(NOW + 61)
    assert first is files.get(path)
    files.look(NOW + 62, anew=True)
    assert first is not files.get(path)


def test_a_young_file_is_read_again_whatever_its_stamp_says(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one", NOW)
    files = Files()
    files.look(NOW + 1)
    first = files.get(path)
    assert first.young
    files.look(NOW + 1.5)
    assert first is not files.get(path)


def test_a_file_just_written_in_place_may_be_half_of_something(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    files = Files()
    files.look(path.stat().st_mtime)
    assert (files.get(str(path)).young, files.get(str(path)).whole) == (True, False)


def test_a_file_moved_into_place_is_whole_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    files = Files()
    files.look(path.stat().st_mtime)
    files.get(str(path))
    beside = tmp_path / "b"
    beside.write_text("two")
    time.sleep(0.02)  # the clock of file systems ticks every few milliseconds
    os.replace(beside, path)
    files.look(path.stat().st_mtime)
    entry = files.get(str(path))
    assert (entry.data, entry.whole) == (b"two", True)


def test_an_old_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    files = Files()
    files.look(path.stat().st_mtime + 60)
    assert files.get(str(path)).whole


def test_a_file_dated_far_ahead_is_not_young_for_ever(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one", NOW + 3600)
    files = Files()
    files.look(NOW)
    assert not files.get(path).young


def test_a_missing_file_is_an_error_and_not_in_doubt(tmp_path: Path) -> None:
    files = Files()
    files.look(NOW)
    entry = files.get(str(tmp_path / "a"))
    assert (entry.digest, entry.data, entry.whole) == ("", b"", True)
    assert "No such file" in entry.error


def test_a_file_just_lost_is_in_doubt_for_a_while(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one", NOW)
    files = Files()
    files.look(NOW + 60)
    files.get(path)
    os.unlink(path)
    found = []
    for at in (61, 62, 64):
        files.look(NOW + at)
        found.append(files.get(path).whole)
    assert found == [False, False, True]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_never_opened(tmp_path: Path, make: object) -> None:
    path = str(tmp_path / "a")
    make(path)  # type: ignore[operator]
    files = Files()
    files.look(NOW)
    assert files.get(path).error == "not a regular file"


def test_a_path_that_cannot_be_is_an_error() -> None:
    files = Files()
    files.look(NOW)
    assert "null byte" in files.get("a\0b").error


def test_no_more_is_read_than_shows_that_a_file_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (MAX_BYTES + 99))
    files = Files()
    files.look(NOW)
    assert len(files.get(str(path)).data) == MAX_BYTES + 1


def test_what_no_look_asks_for_is_forgotten(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", "one", NOW), written(tmp_path / "b", "two", NOW)
    files = Files()
    files.look(NOW + 60)
    kept, dropped = files.get(one), files.get(two)
    files.look(NOW + 61)
    files.get(one)
    files.look(NOW + 62)
    assert (files.get(one) is kept, files.get(two) is dropped) == (True, False)


def test_the_ends_of_links_are_told(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("one")
    link.symlink_to(target)
    files = Files()
    files.look(NOW)
    files.get(str(link))
    assert {str(link), str(target.resolve())} == set(files.ends())


def test_a_folder_s_link_is_followed_anew_in_each_look(tmp_path: Path) -> None:
    link, found = tmp_path / "link", []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("a.yaml", "b.yaml"):
            (tmp_path / name / file).write_text(name)
    files = Files()
    for name in ("one", "two"):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name)
        files.look(1e9)
        ends = {files.get(str(link / file)).real for file in ("a.yaml", "b.yaml")}
        found.append(ends)
    real = tmp_path.resolve()
    assert found == [{f"{real}/{name}/{file}.yaml" for file in "ab"} for name in ("one", "two")]


def test_one_path_can_be_read_twice_in_a_look(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    files = Files()
    files.look(NOW)
    first = files.get(str(path))
    replace(path, "two")
    age(path)
    files.look_again([str(path)], NOW + 0.1)
    assert (first.data, files.get(str(path)).data) == (b"one", b"two")
