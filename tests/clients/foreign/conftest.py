"""These servers are large: only `make test-clients`, which installs them, runs these."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("PENSTOCK_TEST_CLIENTS") == "1" else ["test_*.py"]
