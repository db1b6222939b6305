"""``python -m robustscape`` is the ``robustscape`` command."""

import sys

from robustscape.cli import main

if __name__ == "__main__":
    sys.exit(main())
