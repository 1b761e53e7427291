"""`python -m backend.app`."""

import signal
import sys


def _stop(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        # a signal that comes before the server listens for it is no crash either
        signal.signal(signal.SIGINT, _stop)
        signal.signal(signal.SIGTERM, _stop)

    from backend.app.cli import main

    sys.exit(main())
