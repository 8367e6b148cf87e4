"""python -m tests.mutants ["WORDS"]: plant all bugs, or those with the words in the description."""

import sys

from tests.mutants import BUGS
from tests.mutants.runner import run

words = " ".join(sys.argv[1:])
sys.exit(run([one for one in BUGS if words in one.description]))
