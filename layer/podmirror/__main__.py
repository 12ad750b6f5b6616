"""`python -m podmirror`."""

import sys

from podmirror.cli import main

sys.exit(main())
