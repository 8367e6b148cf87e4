"""An emulated AWS in a process of its own, so that its time and its memory are not counted as the
hub's.

    with running() as url: …

The process ends when its standard input ends, so also when its parent is killed.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

TABLES = {"HubTable": "hub", "CounterTable": "counters", "Bucket": "objects"}
"""Logical id in template.yaml → name here. The names have no influence on the size of rows."""
STOP_SECONDS = 10.0
CREDENTIALS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Start an AWS with the hub's tables and bucket.

    Yields its URL. Raises RuntimeError if it does not start.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PIERIA_"))
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.aws"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, **CREDENTIALS, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin and process.stdout
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("the emulated AWS did not start")
        yield url
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def main() -> None:
    """Serve until standard input ends."""
    # Late: moto opens a boto3 session on import, which must use the environment above.
    from infra import stack
    from infra.embedded_aws import EmbeddedAws

    with EmbeddedAws() as aws:
        stack.create(aws.url, TABLES)
        print(aws.url, flush=True)
        sys.stdin.read()
        os._exit(0)  # freeing a million rows one by one would take longer than creating them


if __name__ == "__main__":
    main()
