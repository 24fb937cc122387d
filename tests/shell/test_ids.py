from __future__ import annotations

import pytest

from engine.shell.ids import client_id, id_headers
from engine.wire import Headers


@pytest.mark.parametrize("name", ["a", "run-7.b_C", "x" * 128])
def test_a_clients_own_name_for_its_request_is_given_back(name: str) -> None:
    named = client_id(Headers({"x-req-id": name}))
    assert {"x-request-id": name, "request-id": "req_1"} == id_headers("req_1", named)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "é", "a\r\nset-cookie: b", '"a"'])
def test_what_is_no_plain_word_is_not(name: str) -> None:
    named = client_id(Headers({"x-req-id": name}))
    assert {"x-request-id": "req_1", "request-id": "req_1"} == id_headers("req_1", named)


def test_without_a_name_both_headers_have_ours() -> None:
    assert "" == client_id(Headers())
