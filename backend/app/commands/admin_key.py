"""`admin-key`: show the generated admin key to the user who runs the gateway."""

from __future__ import annotations

import sys

from backend.app.admin_key import AdminKeyStore
from backend.app.config import Settings
from backend.app.directories import usable_cache_dir


def show(settings: Settings) -> int:
    """Print it on stdout. Exit code 1 when there is none."""
    store = AdminKeyStore(usable_cache_dir(settings)[0])
    key = store.read()
    if key is None:
        print(f"There is no generated admin key: {store.path} does not exist.", file=sys.stderr)
        return 1
    print(key)
    return 0
