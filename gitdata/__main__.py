"""`python -m gitdata` and the program `gitdata`: whoever interrupts while it is being loaded gets no traceback."""

import sys

from gitdata.errors import INTERRUPTED


def main() -> None:
    """Load the command line and run it."""
    try:
        from gitdata.cli import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
