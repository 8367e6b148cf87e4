"""What checkov says of the template with everything in it, offline.

Run by `make check` and not with the other tests: checkov brings a hundred packages, in an
environment of their own.
"""

import json
import subprocess
from pathlib import Path

from infra import tools
from tests.template.expansion import deployed

EVERY = "*"
NOT_FOLLOWED: dict[str, tuple[str, str]] = {
    "CKV_AWS_115": (
        EVERY,
        (
            "reserved concurrency takes from the account's pool, which in a new account is too"
            " small to deploy then"
        ),
    ),
    "CKV_AWS_116": (
        EVERY,
        "a dead-letter queue is for asynchronous calls: here a caller waits, and is told",
    ),
    "CKV_AWS_117": (
        EVERY,
        "in a VPC a function needs an endpoint or a NAT gateway, paid by the hour",
    ),
    "CKV_AWS_173": (
        EVERY,
        "the environment holds names and limits; it is encrypted with a key of AWS's in any case",
    ),
    "CKV_AWS_158": (
        EVERY,
        (
            "logs hold no secret and are encrypted by AWS; a key of one's own is $1 a month and per"
            " call"
        ),
    ),
    "CKV_AWS_119": (
        EVERY,
        "encrypted with DynamoDB's key; one of one's own is charged for every call",
    ),
    "CKV_AWS_28": ("CounterTable", "counters are worth nothing after a minute"),
    "CKV_AWS_18": (
        "Bucket",
        "S3's access log would be a second bucket full of who read what, for ever",
    ),
    "CKV_AWS_258": (
        "FetchStreamUrl",
        (
            "signing for the distribution needs the digest of a body, which the stock client does"
            " not send; the URL takes nothing without the origin's secret"
        ),
    ),
    "CKV_AWS_26": (
        "AlarmTopic",
        "an alarm cannot publish to a topic under AWS's key, and holds nothing secret",
    ),
    "CKV_AWS_68": (
        "Distribution",
        "a web ACL is $5 a month and more; requests are limited by the hub, per subject",
    ),
    "CKV_AWS_86": (
        "Distribution",
        "its log would hold paths, which are the caller's text; the functions log each request",
    ),
}
"""Checks that fail and may: for which resources (by logical id), and why.

All others have to pass.
"""


def test_checkov_finds_only_the_known_findings(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    template = deployed("full")
    file.write_text(json.dumps(template))
    command = [
        str(tools.environment("checkov") / "checkov"),
        "--framework",
        "cloudformation",
        "--skip-download",
    ]
    command += ["--quiet", "--compact", "--output", "json", "--file", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    results = json.loads(run.stdout)
    assert not results["summary"]["parsing_errors"]
    assert results["summary"]["resource_count"] >= len(template["Resources"])
    failed = {
        (found["check_id"], found["resource"].rpartition(".")[2])
        for found in results["results"]["failed_checks"]
    }
    known = {
        (check, name)
        for check, name in failed
        if check in NOT_FOLLOWED and NOT_FOLLOWED[check][0] in (EVERY, name)
    }
    assert failed - known == set()
    assert NOT_FOLLOWED.keys() == {check for check, _ in known}, "what passes needs no excuse"
