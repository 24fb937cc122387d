"""Files that are written whole or not at all, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.shell.atomic import MOST, FileError, locked, read_json, write_bytes, write_json

KILLS = int(os.environ.get("PENSTOCK_TEST_KILLS", "40"))


def test_what_is_written_is_read_and_nobody_else_may(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/creds.json"
    write_json(path, {"a": "é"})
    assert read_json(path) == {"a": "é"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["creds.json"]


def test_bytes_are_for_all_whom_the_umask_lets(tmp_path: Path) -> None:
    path = tmp_path / "deep/f.yaml"
    before = os.umask(0o022)
    try:
        write_bytes(path, b"a\r\n\xff")
    finally:
        os.umask(before)
    assert (b"a\r\n\xff", 0o644) == (path.read_bytes(), path.stat().st_mode & 0o777)
    assert 0o755 == path.parent.stat().st_mode & 0o777


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "creds.json"
    path.write_text("{}")
    path.chmod(0o644)
    write_json(path, {})
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_none_and_a_bad_one_an_error(tmp_path: Path) -> None:
    path = tmp_path / "creds.json"
    assert read_json(path) is None
    for text in ('{"a": 1', "[]", "", " " * (MOST + 1)):
        path.write_text(text)
        with pytest.raises(FileError, match=r"creds\.json holds no JSON map"):
            read_json(path)
    with pytest.raises(FileError, match="cannot read"):
        read_json(tmp_path)


def test_where_nothing_can_be_written_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "creds.json"
    path.mkdir()
    with pytest.raises(FileError, match="cannot write"):
        write_json(path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["creds.json"]


def test_a_link_is_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("{}")
    link.symlink_to(real)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert read_json(real) == {"a": 1}


def test_what_a_dead_program_left_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".c.json.dead.tmp", tmp_path / ".c.json.alive.tmp"
    for file in (old, young):
        file.write_text("{")
    os.utime(old, (time.time() - 3600, time.time() - 3600))
    write_json(tmp_path / "c.json", {})
    assert sorted(file.name for file in tmp_path.iterdir()) == [".c.json.alive.tmp", "c.json"]


def test_a_lock_keeps_others_out_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "creds.json"
    with locked(path, 0.0) as first, locked(path, 0.1) as second:
        assert (first, second) == (True, False)
    with locked(path, 0.0) as again:
        assert again
    assert list(tmp_path.iterdir()) == []


READER = """
import json, sys, time
path, last, reads = sys.argv[1], 0, 0
while True:
    with open(path, "rb") as file:
        found = json.loads(file.read())
    number, reads = found["number"], reads + 1
    assert found["filler"] == str(number) * 5_000, "torn"
    assert number >= last, f"{number} after {last}"
    last = number
    if reads % 50 == 0:
        print(reads, flush=True)
"""


def write_for_ever(path: Path, number: int) -> None:
    while True:
        number += 1
        write_json(path, {"number": number, "filler": str(number) * 5_000})


def test_a_writer_that_is_killed_never_tears_the_file(tmp_path: Path) -> None:
    """`PENSTOCK_TEST_KILLS=1000` runs the whole number."""
    path = tmp_path / "creds.json"
    write_json(path, {"number": 0, "filler": "0" * 5_000})
    reads = subprocess.Popen(
        [sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with reads as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.readline()
        begun = 0
        for kill in range(KILLS):
            found = read_json(path)
            assert found is not None
            assert path.stat().st_mode & 0o777 == 0o600
            number = found["number"]
            assert isinstance(number, int)
            assert number >= begun
            begun = number
            child = os.fork()
            if child == 0:
                write_for_ever(path, number)
            patience = 1 if begun else 20  # a busy machine may need long for the first one
            time.sleep((1 + kill % 17) * patience / 1000)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        reader.kill()
        assert b"Error" not in reader.stderr.read()
    assert begun > 0
