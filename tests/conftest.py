"""Whoever makes a client of HTTP reads the roots of trust, for fifty milliseconds each time.

No test trusts anybody but whom it names itself, so one root that has signed nothing is enough for
the suite and for the programs that it starts.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "nobody.pem")
