"""The measured operations as a table, as Markdown for docs/costs.md, and as a picture."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from rich.console import Console
from rich.table import Table

from bench import prices
from bench.measure import Measured
from bench.targets import Verdict

DOLLARS = "us-east-1 on demand, beyond the free tiers, data out apart"
PICTURED = (
    "poll: GET refs",
    "a lost race: POST push, 409",
    "small pull: 1 commit, 10 objects",
    "small push: 1 commit, 10 objects",
    "pull of 1 commit at depth 10",
    "pull of 1 commit at depth 100,000",
    "push of 1 commit at depth 100,000",
    "clone of a popular repository of 5 MB",
    "clone of 40 MB",
)
SERVICES = (
    ("gateway", "HTTP API", "#4e79a7"),
    ("compute", "Lambda", "#f28e2b"),
    ("dynamodb", "DynamoDB", "#59a14f"),
    ("s3", "S3", "#e15759"),
    ("logs", "logs", "#9c9c9c"),
)


def table(found: Sequence[Measured]) -> Table:
    """A table with a line for each operation."""
    made = Table(
        title=f"AWS calls, units and dollars ({DOLLARS}; prices of {prices.AS_OF})",
        title_justify="left",
    )
    made.add_column("operation", overflow="fold")
    for column in (
        "requests",
        "calls (chain)",
        "again",
        "wait ms",
        "read units",
        "write units",
        "hottest",
        "S3 PUT/GET",
        "bytes",
        "÷ least",
        "CPU ms",
        "MB",
        "$/1,000",
        "+ data out",
    ):
        made.add_column(column, justify="right")
    for one in found:
        count = one.count
        timed = one.cpu_seconds > 0
        made.add_row(
            one.name,
            f"{count.requests}",
            f"{count.calls:,} ({count.chain})",
            f"{one.warm.calls:,} ({one.warm.chain})",
            f"{count.milliseconds:,}",
            f"{count.read_units:,g}",
            f"{count.write_units:,}",
            f"{count.hottest:,}",
            f"{count.s3_puts}/{count.s3_gets}",
            f"{count.wire_bytes:,}",
            f"{one.overhead:.3f}" if one.overhead else "",
            f"{1000 * one.cpu_seconds:,.0f}" if timed else "",
            f"{one.memory_bytes / 1e6:,.1f}" if timed else "",
            f"{one.dollars:.4f}" if timed else "",
            f"{1000 * one.bill.data_out:.4f}" if timed else "",
        )
    return made


def steps(found: Sequence[Measured]) -> Table:
    """A table with a line for each kind of request of an operation."""
    made = Table(title="Request by request", title_justify="left")
    for column in (
        "operation",
        "request",
        "calls (chain)",
        "wait ms",
        "read/write units",
        "CPU ms",
        "calls by name",
    ):
        made.add_column(column, overflow="fold")
    for one in found:
        for number, step in enumerate(one.steps):
            made.add_row(
                "" if number else one.name,
                f"{step.requests} × {step.function}" if step.requests > 1 else step.function,
                f"{step.calls} ({step.chain})",
                f"{step.milliseconds}",
                f"{step.read_units:,g}/{step.write_units:,}",
                f"{1000 * step.cpu_seconds:,.0f}",
                ", ".join(f"{n} {name.partition('.')[2]}" for name, n in step.operations.items()),
            )
    return made


def targets(verdicts: Sequence[Verdict]) -> Table:
    """A table of targets and measured values."""
    made = Table(title="Targets", title_justify="left")
    for column in ("", "operation", "what", "at most", "measured"):
        made.add_column(column)
    for verdict in verdicts:
        target = verdict.target
        made.add_row(
            "ok" if verdict.holds else "OVER",
            target.operation,
            target.what,
            f"{target.most:,g}",
            _short(verdict),
        )
    return made


def markdown(found: Sequence[Measured]) -> str:
    """The table of docs/costs.md."""
    lines = [
        (
            "| operation | calls (chain) | wait | read, write units | S3 PUT, GET | bytes | dollars"
            " per 1,000 |"
        ),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        count = one.count
        lines.append(
            f"| {one.name} | {count.calls:,} ({count.chain}) | {count.milliseconds:,} ms |"
            f" {count.read_units:,g}, {count.write_units:,} | {count.s3_puts}, {count.s3_gets} |"
            f" {count.wire_bytes:,} | {one.dollars:.4f} |"
        )
    return "\n".join(lines)


def picture(found: Mapping[str, Measured], verdicts: Sequence[Verdict]) -> str:
    """An SVG: dollars per 1,000 of the usual operations, by service; and calls beside their
    targets."""
    shown = [found[name] for name in PICTURED if name in found]
    called = [
        verdict for verdict in verdicts if "calls" in verdict.target.what and verdict.target.most
    ]
    top = max((one.dollars for one in shown), default=1)
    most = max((max(v.measured, v.target.most) for v in called), default=1)
    left = 300
    wide = 420
    row = 26
    parts = [_text(16, 28, f"Dollars per 1,000 operations ({DOLLARS}; {prices.AS_OF})", bold=True)]
    y = 48
    for number, (_, label, colour) in enumerate(SERVICES):
        parts += [
            _bar(16 + 110 * number, y, 10, 10, colour),
            _text(30 + 110 * number, y + 9, label),
        ]
    y += 26
    for one in shown:
        parts.append(_text(left - 10, y + 13, one.name, end=True))
        x = float(left)
        for key, _, colour in SERVICES:
            length = wide * 1000 * getattr(one.bill, key) / top
            parts.append(_bar(x, y, length, 18, colour))
            x += length
        parts.append(_text(x + 6, y + 13, f"${one.dollars:.4f}"))
        y += row
    y += 24
    parts.append(_text(16, y, "AWS calls; the line is the target", bold=True))
    y += 14
    for verdict in called:
        length = wide * verdict.measured / most
        promise = left + wide * verdict.target.most / most
        parts += [
            _text(left - 10, y + 13, verdict.target.operation, end=True),
            _bar(left, y, length, 18, "#59a14f" if verdict.holds else "#e15759"),
            f'<path d="M{promise:.1f} {y - 2}v22" stroke="#222" stroke-width="2"/>',
            _text(
                max(left + length, promise) + 6,
                y + 13,
                f"{verdict.measured:g} of {verdict.target.most:g}",
            ),
        ]
        y += row
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{y + 10}" viewBox="0 0 860'
        f' {y + 10}" font-family="system-ui, sans-serif" font-size="13"><rect width="100%"'
        f' height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def show(found: Sequence[Measured], verdicts: Sequence[Verdict]) -> None:
    """Print all tables on standard output."""
    console = Console(width=210)
    for made in (table(found), steps(found), targets(verdicts)):
        console.print(made)


def _short(verdict: Verdict) -> str:
    return f"{verdict.measured:.4g}"


def _bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{max(width, 0):.1f}" height="{height}" fill="{colour}"/>'
    )


def _text(x: float, y: float, words: str, *, end: bool = False, bold: bool = False) -> str:
    style = (' text-anchor="end"' if end else "") + (' font-weight="bold"' if bold else "")
    return f'<text x="{x:.1f}" y="{y}" fill="#222"{style}>{escape(words)}</text>'
