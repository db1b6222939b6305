"""``python -m robustscape`` is the ``robustscape`` command."""

import sys

from robustscape.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
