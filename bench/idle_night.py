"""The starts that a user waits for after an idle night, `python -m bench.idle_night`.

Each function runs in AWS's runtime emulator, in front of the embedded AWS:

    cold     from the start of the process to the reply to its sample event
    woken    the same reply of a process that got a wake-up before
    wake     from the start of the process to the end of the wake-up
    signal   from the start of `refs` to its invocation of this function

The two paths are computed from these medians. A request to a function that still starts waits for a
new container, as Lambda would start one. Between two requests are `GAP_MS` for the network: the
stock client opens a connection for each request.

Not measured: the queue of asynchronous invocations, and the share of a processor that Lambda gives.
"""

import argparse
import http.server
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from functions.endpoints import WIRE
from infra import invoke
from shared.engines import wake

PATHS = {
    "first push": ("refs", "filter_objects", "push_objects", "push"),
    "first clone": ("refs", "fetch"),
}
GAP_MS = 100.0
"""Three round trips of 33 ms: a TCP connection, TLS, and the request."""

Times = dict[str, float]
"""Milliseconds by function."""


@contextmanager
def lambda_api() -> Iterator[tuple[str, Times]]:
    """An address in the place of the Lambda API, and the time of each invocation by function."""
    arrived: Times = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            arrived[self.path.split("/")[3]] = time.perf_counter()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", arrived
        server.shutdown()


@dataclass(frozen=True, slots=True)
class Measured:
    """The times of all rounds in milliseconds, by function."""

    cold: dict[str, list[float]] = field(default_factory=dict)
    woken: dict[str, list[float]] = field(default_factory=dict)
    wake: dict[str, list[float]] = field(default_factory=dict)
    signal: dict[str, list[float]] = field(default_factory=dict)


def main() -> int:
    """Measure and print. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle_night", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args()
    measured = Measured()
    with invoke.world() as place:
        for _ in range(options.rounds):
            for function in dict.fromkeys(name for path in PATHS.values() for name in path):
                _measure(function, place, measured)
    _report(measured)
    return 0


def _measure(function: str, place: Mapping[str, str], measured: Measured) -> None:
    event = invoke.filled((invoke.EVENTS / f"{function}.json").read_text(), place)
    [woken] = [row.wakes for row in WIRE if row.module == function]
    with (
        lambda_api() as (url, arrived),
        invoke.runtime(function, PIERIA_WAKE=" ".join(woken), AWS_ENDPOINT_URL_LAMBDA=url) as call,
    ):
        begun = time.perf_counter()
        call(event)
        measured.cold.setdefault(function, []).append(_since(begun))
    for name, at in arrived.items():
        measured.signal.setdefault(name, []).append((at - begun) * 1000)
    with invoke.runtime(function) as call:
        begun = time.perf_counter()
        call(wake.EVENT)
        measured.wake.setdefault(function, []).append(_since(begun))
        begun = time.perf_counter()
        call(event)
        measured.woken.setdefault(function, []).append(_since(begun))


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


def _report(measured: Measured) -> None:
    cold = _medians(measured.cold)
    woken = _medians(measured.woken)
    wakes = _medians(measured.wake)
    signals = _medians(measured.signal)
    print(f"{'milliseconds':16}{'cold':>8}{'woken':>8}{'wake':>8}{'signal':>8}")
    for function in cold:
        signal = signals.get(function)
        shown = "–" if signal is None else f"{signal:.0f}"
        print(
            f"{function:16}{cold[function]:8.0f}{woken[function]:8.0f}"
            f"{wakes[function]:8.0f}{shown:>8}"
        )
    for name, path in PATHS.items():
        before = sum(cold[function] for function in path)
        after = 0.0
        clock = 0.0
        for function in path:
            is_ready = function in signals and signals[function] + wakes[function] <= clock
            taken = woken[function] if is_ready else cold[function]
            after += taken
            clock += taken + GAP_MS
        print(f"{name}: {before:.0f} ms before, {after:.0f} ms now, {after / before:.2f}")


def _medians(times: Mapping[str, list[float]]) -> Times:
    return {function: statistics.median(taken) for function, taken in times.items()}


if __name__ == "__main__":
    sys.exit(main())
