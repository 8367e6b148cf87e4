"""Clone 60 MB from the streaming function as Lambda starts it, and print the memory that it used.

    python -m bench.stream [--seed 1] [--objects 4100] [--json]

`run.sh` runs in a process of its own, as the Lambda Web Adapter starts it. The functions that
accept the push run in this process. The kernel reports the memory (Linux only): at rest after a
small fetch, and at the peak of the large one. The exit status is 1 if the clone differs from the
push, or if the peak is too high.
"""

import argparse
import contextlib
import faulthandler
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import msgpack

from bench import aws, client, lambdas
from bench.differences import differences
from bench.history import generate
from bench.lambdas import BASE, OWNER, Hub
from infra import ports
from shared.codec import MSGPACK

RUN = Path(__file__).parent.parent / "run.sh"
MIB = 1024 * 1024
MOST_ABOVE_REST = 64 * MIB
START_SECONDS = 30.0
DEADLINE_SECONDS = 600.0
"""If the run takes longer, the process ends, with the traceback of every thread."""


@dataclass(frozen=True)
class Server:
    """The running process: its port on 127.0.0.1, and its memory."""

    port: int
    process: subprocess.Popen[bytes]

    def memory(self) -> int:
        """Its resident memory now, in bytes."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The peak of its resident memory since the start, or since `forget_peak`, in bytes."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Reset the peak."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def serving(environment: Mapping[str, str], log: int | None = None) -> Iterator[Server]:
    """Start the streaming function with this environment, and wait until it is ready.

    `log`: a file descriptor for its log, by default stderr. Raises RuntimeError if it does not
    start.
    """
    port = ports.free()
    here = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_LWA_PORT": str(port),
    }
    process = subprocess.Popen(
        [RUN], env={**environment, **here}, stdin=subprocess.DEVNULL, stderr=log
    )
    try:
        if not ports.is_ready(process, port, within_seconds=START_SECONDS, answers=_is_well):
            raise RuntimeError("run.sh did not start")
        yield Server(port, process)
    finally:
        process.kill()
        process.wait()


def _is_well(port: int) -> bool:
    """Whether the health check of the adapter succeeds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@dataclass(frozen=True)
class Report:
    """The measured values. `faults`: a line for each difference or excess."""

    seed: int
    reply_bytes: int
    seconds: float
    rest: int
    peak: int
    faults: tuple[str, ...]

    def as_text(self) -> str:
        """The report as a few lines."""
        verdict = [f"FAULT: {fault}" for fault in self.faults] or [
            "every byte and every record came back as sent"
        ]
        above = (self.peak - self.rest) / MIB
        memory = (
            f"memory {self.rest / MIB:.1f} MiB at rest, {self.peak / MIB:.1f} MiB at its peak:"
            f" {above:.1f} more"
        )
        return "\n".join(
            [
                f"seed {self.seed}: a reply of {self.reply_bytes:,} bytes in {self.seconds:.2f} s",
                memory,
                *verdict,
            ]
        )


def measure(hub: Hub, seed: int, objects: int) -> Report:
    """Push a repository to the hub, and clone it from the streaming function."""
    history = generate(seed, objects=objects)
    small = generate(seed + 1, commits=1, files=2, objects=2)
    for slug, pushed in ((hub.slug, history), (f"{hub.slug}-small", small)):
        client.push(f"{BASE}/{OWNER}/{slug}", lambdas.token(), pushed, transport=hub.transport())
    with serving(os.environ) as opened:
        clone(opened, f"{hub.slug}-small", small.head)
        rest = opened.memory()
        opened.forget_peak()
        started = time.perf_counter()
        reply = clone(opened, hub.slug, history.head)
        seconds = time.perf_counter() - started
        peak = opened.peak()
    bundle = msgpack.unpackb(reply, raw=False)
    refs = {"branch_heads": bundle["branch_heads"]}
    faults = differences(history, client.Fetched(refs, bundle, ()))
    if peak - rest > MOST_ABOVE_REST:
        faults.append(f"more than {MOST_ABOVE_REST // MIB} MiB above the memory at rest")
    return Report(seed, len(reply), seconds, rest, peak, tuple(faults))


def clone(opened: Server, slug: str, head: str) -> bytes:
    """The reply to a clone.

    Raises RuntimeError if it is refused, IncompleteRead if it is truncated.
    """
    connection = http.client.HTTPConnection("127.0.0.1", opened.port, timeout=60)
    with contextlib.closing(connection):
        body = msgpack.packb({"want": [head], "have": []})
        connection.request(
            "POST", f"/{OWNER}/{slug}/fetch", body, {"Content-Type": MSGPACK, "Accept": MSGPACK}
        )
        reply = connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"HTTP {reply.status}: {content[:400].decode()}")
        return content


def main(arguments: list[str] | None = None) -> int:
    """Run once. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.stream", description="Clone 60 MB from the streaming function."
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated repository")
    parser.add_argument(
        "--objects", type=int, default=4100, help="number of its objects, of 12 kB each"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    with aws.running() as url:
        lambdas.set_environment(url)
        with Hub() as hub:
            report = measure(hub, options.seed, options.objects)
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(asdict(report), indent=2) if options.json else report.as_text())
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
