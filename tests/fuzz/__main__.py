"""`python -m tests.fuzz`: see `runner`."""

import sys

from tests.fuzz.runner import main

if __name__ == "__main__":  # a worker process imports this module, too
    sys.exit(main())
