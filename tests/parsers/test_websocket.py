"""Messages of a websocket, as they are handed on."""

from __future__ import annotations

import pytest

from engine.parsers import websocket
from engine.parsers.websocket import encoded
from engine.wire import SocketMessage
from tests.parsers.case import Case
from tests.parsers.cases_binary import SOCKET, message


@pytest.mark.parametrize("case", SOCKET, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(websocket)


@pytest.mark.parametrize("text", [True, False])
def test_a_message_becomes_one_frame(text: bool) -> None:
    assert message(b"a\x81b", text=text) == encoded(SocketMessage(b"a\x81b", text))
