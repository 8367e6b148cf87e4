"""Bugs that a person might make, and the test that catches each.

    python -m tests.mutants               plant all bugs, one after the other, in a copy of the tree
    python -m tests.mutants "a rename"    plant the bugs whose description contains these words

The output is a table. The exit status is 1 if a bug survives or does not apply any more. Each test
that caught a bug runs once more at the end without a bug, and must pass.

A new bug is a row in the table of its area, in one of the modules below. `planting` defines the
changes.
"""

from tests.mutants import access, maintenance, pushes, reads, storage, upkeep

BUGS = [*pushes.BUGS, *reads.BUGS, *storage.BUGS, *maintenance.BUGS, *upkeep.BUGS, *access.BUGS]
