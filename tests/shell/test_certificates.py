"""The bundle of certificates is loaded where it is looked into, and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, ssl
load = ssl.SSLContext.set_default_verify_paths
import engine.cli.serve
from aiohttp import connector
contexts = [connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED]
print(json.dumps({
    "checks": [context.verify_mode == ssl.CERT_REQUIRED for context in contexts],
    "known": [context.cert_store_stats()["x509"] for context in contexts],
    "usual": ssl.create_default_context().cert_store_stats()["x509"],
    "same": ssl.SSLContext.set_default_verify_paths is load,
}))
"""


def test_a_server_knows_the_usual_certificates_once() -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert [True, False] == found["checks"]
    assert [found["usual"], 0] == found["known"]
    assert found["same"]
