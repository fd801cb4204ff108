"""What a shared tier saves: a fleet at work without it, with it, and with one whose server is dead; the requests at S3, as a table.

    python -m tests.fleet [--small]

The server is Debian's redis-server; with --small it is one in memory, and the fleet is as in `make test`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile

from tests.fleet.servers import InMemory, Real
from tests.fleet.simulation import FULL, SMALL, simulate
from tests.fleet.table import table
from tests.support.valkey import ValkeyServer, missing


def main() -> int:
    """Run all three, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--small", action="store_true", help="a small fleet, with a server in memory: seconds instead of minutes"
    )
    options = parser.parse_args()
    if not options.small and (lacking := missing()) is not None:
        print(f"{lacking}; see --small", file=sys.stderr)
        return 1
    plan = SMALL if options.small else FULL
    with contextlib.ExitStack() as stack:
        server: InMemory | Real
        if options.small:
            server = InMemory()
        else:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="s3warm-fleet-"))
            server = Real(stack.enter_context(ValkeyServer(directory)))
        outcomes = {"no shared tier": simulate(plan), "a shared tier": simulate(plan, server.client)}
        server.kill()
        outcomes["its server is dead"] = simulate(plan, server.client)
    print(table(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
