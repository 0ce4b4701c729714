"""`python -m cairn`: the same as the command `cairn`.

argv  ->  cairn.cli.main
"""

import sys

from cairn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
