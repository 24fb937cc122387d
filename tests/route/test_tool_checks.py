from __future__ import annotations

import pytest

from engine.route.compile import Sources, compile_route

ROUTE = b"""\
version: 1
dialect: openai_chat
base_url: https://api.example.com/v1
models: [m]
tools: { mcp: [time] }
"""


@pytest.mark.parametrize(
    ("servers", "codes"),
    [
        (None, []),
        (frozenset({"time"}), []),
        (frozenset({"git"}), ["E540"]),
        (frozenset(), ["E540"]),
    ],
)
def test_servers_must_be_declared_where_that_can_be_known(
    servers: frozenset[str] | None, codes: list[str]
) -> None:
    compiled = compile_route(ROUTE, "r.yaml", Sources(servers=servers))
    assert codes == [problem.code for problem in compiled.problems]


def test_a_client_of_the_same_dialect_is_read_where_tools_may_be_run() -> None:
    route = compile_route(ROUTE, "r.yaml", Sources()).route
    assert route is not None
    assert not route.passthrough
