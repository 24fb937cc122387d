"""Curl commands: as browsers copy them, as people write them, and those that are refused."""

from __future__ import annotations

import pytest

from engine.draft.asking import fields_of
from engine.draft.curl import DraftError, read_curl
from engine.wire import HttpRequest

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
CHROME = r"""curl 'https://chat.example.com/api/ask?v=2' \
  -H 'accept: */*' \
  -H 'authorization: Bearer abc' \
  -b 'a=1; b=2' \
  -H 'content-type: application/json' \
  -H 'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"' \
  --data-raw $'{"text":"It\'s \u0021 a \\n line\nand \x41\101","n":1}'"""
FIREFOX = r"""curl 'https://chat.example.com/api/ask' --compressed -X POST -H 'User-Agent: Mozilla/5.0' -H 'Accept-Encoding: gzip, deflate, br' -H 'Content-Type: application/json' -H 'TE: trailers' --data-raw '{"text":"Grüße 你好"}'"""  # noqa: E501


def request(command: str) -> HttpRequest:
    return read_curl(command).request()


def test_what_chrome_copies() -> None:
    found = request(CHROME)
    assert ("POST", "https://chat.example.com/api/ask?v=2") == (found.method, found.url)
    assert b'{"text":"It\'s ! a \\n line\nand AA","n":1}' == found.body
    assert ("Bearer abc", "a=1; b=2") == (found.header("Authorization"), found.header("cookie"))
    assert '"Chromium";v="140", "Not=A?Brand";v="24"' == found.header("sec-ch-ua")


def test_what_firefox_copies() -> None:
    found = request(FIREFOX)
    assert ("POST", '{"text":"Grüße 你好"}'.encode()) == (found.method, found.body)
    assert "Mozilla/5.0" == found.header("user-agent")


def test_lines_may_end_as_windows_ends_them() -> None:
    assert b"a=1" == request("curl https://x.example \\\r\n  -d a=1").body


@pytest.mark.parametrize(
    ("options", "method", "body", "headers"),
    [
        ("", "GET", b"", {}),
        ("-X PUT -d a=1 -d b=2", "PUT", b"a=1&b=2", {"content-type": FORM}),
        ("-XDELETE", "DELETE", b"", {}),
        ("-I", "HEAD", b"", {}),
        ("-sSL --compressed -d x", "POST", b"x", {}),
        ("-H'A: 1' -H 'B;' -H 'C:'", "GET", b"", {"a": "1", "b": "", "c": None}),
        ("--data-raw @not-a-file", "POST", b"@not-a-file", {}),
        ("--data-urlencode 'q=a b&c'", "POST", b"q=a+b%26c", {}),
        ("--data-urlencode '=a b'", "POST", b"a+b", {}),
        ("--data-urlencode 'a b'", "POST", b"a+b", {}),
        ("--json '{}'", "POST", b"{}", {"content-type": JSON, "accept": JSON}),
        ("-u me:word", "GET", b"", {"authorization": "Basic bWU6d29yZA=="}),
        ("--oauth2-bearer abc", "GET", b"", {"authorization": "Bearer abc"}),
        ("-A agent -e https://r.example -b a=1", "GET", b"",
         {"user-agent": "agent", "referer": "https://r.example", "cookie": "a=1"}),
        ("-o out.txt --max-time 5 -w %{http_code}", "GET", b"", {}),
    ],
)  # fmt: skip
def test_options_mean_what_they_mean_to_curl(
    options: str, method: str, body: bytes, headers: dict[str, str | None]
) -> None:
    found = request(f"curl {options} https://x.example/a")
    assert (method, body) == (found.method, found.body)
    assert headers == {name: found.header(name) for name in headers}


def test_credentials_in_the_address_are_taken_out_of_it() -> None:
    found = request("curl https://me:wo%40rd@x.example/a@b")
    assert ("https://x.example/a@b", "Basic bWU6d29AcmQ=") == (
        found.url,
        found.header("authorization"),
    )


def test_data_may_go_into_the_query() -> None:
    found = request("curl -G https://x.example/a?z=0 -d a=1 --data-urlencode 'b=ä'")
    assert ("GET", "https://x.example/a?z=0&a=1&b=%C3%A4", b"") == (
        found.method,
        found.url,
        found.body,
    )


def test_a_form_of_texts_is_multipart() -> None:
    found = request("curl https://x.example -F 'a=1;type=text/plain' --form-string 'b=@c' -F d=ä")
    assert [("a", "1"), ("b", "@c"), ("d", "ä")] == fields_of(found)
    assert "POST" == found.method


def test_what_curl_does_not_check_is_known() -> None:
    assert read_curl("curl -k https://x.example").insecure
    assert read_curl("curl -x http://proxy.example:3128 https://x.example").proxy
    assert "http://x.example/a" == request("curl x.example/a").url


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "no curl command"),
        ("fetch('https://x')", "no curl command"),
        ('curl ^"https://x.example^" ^\r\n  -H ^"a: b^"', "copied for Windows"),
        ("Invoke-WebRequest -Uri 'https://x.example'", "copied for Windows"),
        ("curl 'https://x.example", "cut off or misquoted"),
        ("curl -s", "has no URL"),
        ("curl https://a.example https://b.example", "more than one URL"),
        ("curl ftp://a.example", "not one of http or https"),
        ("curl https://a.example -H", "`-H` has no value"),
        ("curl https://a.example -H @headers", "reads headers from a file"),
        ("curl https://a.example -d @body", "`-d @…` sends a file"),
        ("curl https://a.example --data-binary @body", "`--data-binary @…` sends a file"),
        ("curl https://a.example --data-urlencode name@file", "sends a file"),
        ("curl https://a.example -F photo=@me.png", "`-F photo=@…` sends a file"),
        ("curl https://a.example -F text=<me.txt", "`-F text=<…` sends a file"),
        ("curl https://a.example -F text", "has no `name=value`"),
        ("curl https://a.example -b cookies.txt", "reads cookies from a file"),
        ("curl https://a.example -T file", "`-T` cannot be carried over"),
        ("curl https://a.example --config=hidden-5", "`--config` cannot be carried over"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(command: str, said: str) -> None:
    with pytest.raises(DraftError) as caught:
        read_curl(command).request()
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)
