"""A search for secrets in all logs of the hub during the tests. A secret fails the test."""

import re
from typing import Any

SECRETS = {
    "a token": re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{20,}"),
    "an Authorization header": re.compile(r"[Bb]earer +[\w-]{10,}\."),
    "a signing key": re.compile(r"o{32}|n{32}"),
    "the signature of an upload URL": re.compile(r"X-Amz-Signature=[0-9a-f]{16}"),
}


def found_in(text: str) -> list[str]:
    """What kinds of secret are in a text."""
    return [what for what, pattern in SECRETS.items() if pattern.search(text)]


def judge(report: Any) -> None:
    """Fail a test whose log or standard error has a secret.

    The output of a command belongs to its user.
    """
    for name, text in report.sections:
        if ("stderr" in name or "log" in name) and (leaked := found_in(text)):
            report.outcome = "failed"
            report.longrepr = f"the hub wrote down {', '.join(leaked)} ({name}); it must never"
