"""An emulated AWS in a process of its own, for `pieria_hub_aws`: `python -m pieria.emulated_aws`.

Prints one JSON object: the environment variables of a hub on this AWS. Ends when stdin ends.
"""

import sys

from . import find_modules


def main() -> int:
    """Serve until stdin ends. Returns the exit status: 2 if a package is missing."""
    find_modules()
    try:
        from infra import emulated_hub

        emulated_hub.serve_alone(sys.stdin, sys.stdout)
    except ModuleNotFoundError as absent:
        print(f"the package {absent.name} is needed: pip install 'pieria[aws]'", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
