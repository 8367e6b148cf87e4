"""INIT of every function, `make bench-cold`: from the start of the process to its first request for
an event.

Each handler of `build/host` is started by AWS's runtime client, in an environment of its own, with
a Runtime API that only notes the time. A baseline runs in the same rounds, compiled in the same
way: FastAPI, Mangum, msgpack, and boto3 with two clients. The slowest handler may take `BUDGET` of
the baseline's processor time. Processor time is compared because other processes on the machine
have less influence on it, and because a start waits for nothing.

Not measured: unpacking, Firecracker, and the share of a processor that Lambda gives.
"""

import argparse
import http.server
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from infra import build, tools

BUDGET = 0.9
BASELINE = "baseline"
SOURCE = """\
import boto3, msgpack
from fastapi import FastAPI
from mangum import Mangum

dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

@app.get("/")
async def get():
    return {}

handler = Mangum(app, lifespan="off")
"""
PATIENCE_SECONDS = 60

PLACE = {
    "PATH": os.defpath,
    "LANG": "en_US.UTF-8",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
    "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": str(build.HOST),
}
"""The environment variables of Lambda that this code reads."""


class Taken(NamedTuple):
    """The time of one start in milliseconds: wall clock, and processor."""

    wall: float
    processor: float


class RuntimeApi:
    """Notes the time of a function's first request for an event, and never answers it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at = 0.0
        self.failure = ""
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.at = time.perf_counter()
                api.asked.set()
                self.rfile.read()  # until the function has ended

            def do_POST(self) -> None:
                """The runtime client reports a failed import here."""
                api.failure = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                api.asked.set()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def init(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> Taken:
        """Start a function, and kill it after its first request for an event."""
        self.asked.clear()
        self.failure = ""
        before = _processor()
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "AWS_LAMBDA_RUNTIME_API": self.address},
            stderr=subprocess.DEVNULL,
        )
        try:
            if not self.asked.wait(PATIENCE_SECONDS) or self.failure:
                sys.exit(
                    f"{' '.join(command)} does not start:"
                    f" {self.failure[:300] or 'no request for an event'}"
                )
        finally:
            process.kill()
            process.wait()
        return Taken((self.at - begun) * 1000, _processor() - before)


def _processor() -> float:
    """The processor time of all ended child processes, in milliseconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def main() -> int:
    """Measure and print. Returns the exit status: 1 if a handler takes more than its budget."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cold", description="INIT of every function."
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=7,
        help="number of rounds; the median counts (default: %(default)s)",
    )
    options = parser.parse_args()
    python = build.host_python()
    runtime = tools.environment("runtime", python) / "python"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{BASELINE}.py").write_text(SOURCE)
        compile_ = f"import py_compile; py_compile.compile({BASELINE + '.py'!r})"
        subprocess.run([python, "-c", compile_], cwd=folder, check=True)
        found = _measure(runtime, Path(folder), options.rounds)
    return _report(found)


def _measure(runtime: Path, baseline: Path, rounds: int) -> dict[str, list[Taken]]:
    """The times of each module.

    Every round starts each module once, so that other load affects all of them.
    """
    api = RuntimeApi()
    modules = {BASELINE: baseline} | dict.fromkeys(build.handlers(build.HOST), build.HOST)
    found: dict[str, list[Taken]] = {module: [] for module in modules}
    for number in range(rounds + 1):
        for module, folder in modules.items():
            taken = api.init(
                [str(runtime), "-m", "awslambdaric", f"{module}.handler"], folder, PLACE
            )
            if number:  # the first round only warms the machine's cache of files
                found[module].append(taken)
    return found


def _report(found: Mapping[str, list[Taken]]) -> int:
    print(f"{'medians, and of the baseline':28}{'wall ms':>9}{'':7}{'processor ms':>14}")
    ratios = {}
    for module, taken in found.items():
        walls, wall = _compared([one.wall for one in taken], [one.wall for one in found[BASELINE]])
        processors, ratios[module] = _compared(
            [one.processor for one in taken], [one.processor for one in found[BASELINE]]
        )
        print(f"{module:28}{walls:9.0f}{wall:7.2f}{processors:14.0f}{ratios[module]:7.2f}")
    del ratios[BASELINE]
    slowest = max(ratios, key=lambda module: ratios[module])
    print(f"slowest: {slowest}, {ratios[slowest]:.2f} of the baseline (budget {BUDGET})")
    return int(ratios[slowest] > BUDGET)


def _compared(ours: list[float], usual: list[float]) -> tuple[float, float]:
    """The median of `ours`, and the median of its ratio to `usual` in each round."""
    ratios = [one / other for one, other in zip(ours, usual, strict=True)]
    return statistics.median(ours), statistics.median(ratios)


if __name__ == "__main__":
    sys.exit(main())
