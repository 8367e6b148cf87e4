"""The command `pieria` of an installation, also `python -m pieria`."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line, and end the process with its exit status."""
    # The modules import each other by their names in a checkout, such as `shared.errors`. Only
    # the process of this command finds them by these names.
    sys.path.insert(0, str(Path(__file__).parent))
    from infra.cli import app

    app(prog_name="pieria")


if __name__ == "__main__":
    main()
