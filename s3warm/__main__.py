"""`python -m s3warm`."""

import sys

from s3warm.cli.main import main

sys.exit(main(sys.argv[1:]))
