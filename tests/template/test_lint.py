"""What cfn-lint says of the template, of what SAM makes of it, and of two deployments: each shows
other defects.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.template.expansion import TEMPLATE, deployed, expanded, parsed

NOT_FOLLOWED = {
    "W2001": (
        "a deployment whose conditions are resolved is left with parameters that only others use"
    ),
}
"""cfn-lint rules that we do not follow here, each with its reason; the template has its own."""


def test_cfn_lint_has_nothing_to_say(tmp_path: Path) -> None:
    broken = deployed("full")
    broken["Resources"]["FetchStreamUrl"]["Properties"]["InvokeMode"] = "STREAM"
    made = {
        "expanded": expanded(),
        "plain": deployed("plain"),
        "full": deployed("full"),
        "broken": broken,
    }
    files = [TEMPLATE, *(tmp_path / f"{name}.json" for name in made)]
    for file, template in zip(files[1:], made.values(), strict=True):
        file.write_text(json.dumps(template))
    # A process of its own, since cfn-lint sets AWS variables; and one for all, since it is slow to
    # load.
    cfn_lint = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--format", "json"]
    # The template's own exceptions, which those of the command line would replace.
    ignored = [*parsed()["Metadata"]["cfn-lint"]["config"]["ignore_checks"], *NOT_FOLLOWED]
    command = [*cfn_lint, "--ignore-checks", *ignored, "--", *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    findings = defaultdict(list)
    for found in json.loads(run.stdout):
        findings[Path(found["Filename"]).stem].append(f"{found['Rule']['Id']} {found['Message']}")
    assert len(findings.pop("broken")) == 1, "it looks at all of them"
    assert findings == {}
