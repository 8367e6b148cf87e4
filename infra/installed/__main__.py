"""The command `pieria` of an installation, also `python -m pieria`."""

from . import find_modules


def main() -> None:
    """Run the command line, and end the process with its exit status."""
    find_modules()
    from infra.cli import app

    app(prog_name="pieria")


if __name__ == "__main__":
    main()
