"""`python -m bbmr_client` runs `bbmr-client`."""

from __future__ import annotations

import sys

from bbmr_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
