"""`python -m playhead.demo`: the demo as `make demo` runs it."""

import sys

from playhead.demo.command import main

sys.exit(main())
