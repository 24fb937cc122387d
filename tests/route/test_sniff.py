"""What an answer is, by its first bytes."""

from __future__ import annotations

import pytest

from engine.route.sniff import sniff


@pytest.mark.parametrize(
    ("head", "content"),
    [
        (b'{"a":1}', "document"),
        (b"[1]", "document"),
        (b"\xef\xbb\xbf \r\n{", "document"),
        (b"data: x\n\n", "stream"),
        (b"data:", "stream"),
        (b"event: a\ndata: b\n\n", "stream"),
        (b"id: 1\n", "stream"),
        (b"retry: 5\n", "stream"),
        (b": ping\n\n", "stream"),
        (b"\xef\xbb\xbf\n\ndata: x", "stream"),
        (b"data\n\n", "stream"),
        (b"<html>", "page"),
        (b"\n<!DOCTYPE html>", "page"),
        (b"<HTML lang=en>", "page"),
        (b"<hr>", "other"),
        (b"<answer>", "other"),
        (b"hello", "other"),
        (b"database", "other"),
        (b"identity", "other"),
        (b'"text"', "other"),
        (b"\x00\x00\x01", "other"),
        (b"", None),
        (b" \n", None),
        (b"\xef", None),
        (b"\xef\xbb\xbf", None),
        (b"d", None),
        (b"even", None),
        (b"<!Doc", None),
        (b"<", None),
        (b"\n\nretry", None),
    ],
)
def test_the_first_bytes_tell(head: bytes, content: str | None) -> None:
    assert sniff(head) == content


@pytest.mark.parametrize(
    "whole", [b"\xef\xbb\xbf\n event: x\ndata: y\n\n", b" \n[{}]", b"datum", b"<!doctype html>"]
)
def test_more_bytes_never_change_what_was_told(whole: bytes) -> None:
    told = [sniff(whole[:at]) for at in range(len(whole) + 1)]
    known = next(at for at, content in enumerate(told) if content is not None)
    assert set(told[known:]) == {sniff(whole)}
