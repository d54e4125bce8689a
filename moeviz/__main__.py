"""`python -m moeviz` is the same as `moeviz`."""

import sys

from moeviz.cli import main

sys.exit(main())
