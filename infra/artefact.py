"""Hands a built package to `sam build`: `python3 -m infra.artefact PagesFunction FOLDER`.

Runs after `infra.build`, and like it before any package is installed.
"""

import argparse
import os
import shutil
from pathlib import Path

from functions import endpoints
from infra.build import IDENTITY, PACKAGE, PAGES


def main() -> None:
    """Fill the folder of one function with the files of its package."""
    parser = argparse.ArgumentParser(prog="python3 -m infra.artefact")
    parser.add_argument("function", help="the logical id of a function of template.yaml")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    package = package_of(options.function)
    try:
        shutil.copytree(package, options.folder, copy_function=os.link, dirs_exist_ok=True)
    except shutil.Error:  # the folder is on another file system
        shutil.copytree(package, options.folder, dirs_exist_ok=True)


def package_of(function: str) -> Path:
    """The package of a function: that of identity providers, of web pages, or of all others."""
    identity = {row.logical_id for row in endpoints.ENDPOINTS if row.module in endpoints.IDENTITY}
    pages = {row.logical_id for row in endpoints.PAGES}
    if function in identity:
        return IDENTITY
    return PAGES if function in pages else PACKAGE


if __name__ == "__main__":
    main()
