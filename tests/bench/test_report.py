"""The report of a run: each number is in its place, and any browser can show the picture."""

from dataclasses import replace
from xml.etree import ElementTree

from rich.console import Console

from bench import report
from bench.measure import Count, Measured, Step
from bench.prices import Bill
from bench.targets import CLONE, SMALL_PUSH, verdicts
from bench.trace import lines

STEP = Step(
    "push", 1, 12, 8, 70, 17.0, 9, 1, 1, 100, 200, 0.02, {"dynamodb.Query": 1, "s3.PutObject": 2}
)
BILL = Bill(gateway=4e-6, compute=4e-6, dynamodb=2e-5, s3=1e-5, logs=2e-6, data_out=1e-7)
PUSH = Measured(
    SMALL_PUSH,
    Count(4, 23, 16, 125, 77.0, 22, 4, 2, 1, 29_297),
    Count(4, 22, 15, 105, 77.0, 22, 4, 2, 0, 29_297),
    25_000,
    0,
    0,
    0.047,
    None,
    192_000,
    BILL,
    {"hub/a": 4},
    {"hub/b": 12},
    (STEP,),
    ("push: 200",),
)
SLOW = replace(PUSH, name=CLONE, least_cpu=0.01)


def shown(made) -> str:
    console = Console(width=220, record=True, file=open("/dev/null", "w"))
    console.print(made)
    console.file.close()
    return console.export_text()


def test_a_row_has_the_measured_values():
    text = shown(report.table([PUSH]))
    for cell in (
        SMALL_PUSH,
        "23 (16)",
        "22 (15)",
        "125",
        "77",
        "2/1",
        "29,297",
        "1.172",
        "47",
        "0.0400",
        "0.0001",
    ):
        assert cell in text, cell


def test_a_run_without_times_shows_none():
    text = shown(report.table([replace(PUSH, cpu_seconds=0.0)]))
    assert "0.0400" not in text


def test_each_kind_of_request_has_a_row():
    text = shown(report.steps([PUSH]))
    for cell in ("push", "12 (8)", "70", "17/9", "1 Query, 2 PutObject"):
        assert cell in text, cell


def test_a_target_that_is_missed_is_over():
    said = list(verdicts({SMALL_PUSH: PUSH, CLONE: SLOW}))
    rows = [
        row
        for row in shown(report.targets(said)).splitlines()
        if "small push" in row or CLONE in row
    ]
    assert [("OVER" in row, "ok" in row) for row in rows] == [
        (True, False),  # 23 calls of 20
        (True, False),  # $0.04 of $0.025
        (False, True),  # 4 write units of 10
        (False, True),  # 23 calls of 40
        (True, False),  # a chain of 16, of 8
        (True, False),  # 4.7 times the least CPU, of 1.5
    ]


def test_the_table_of_the_readme_is_markdown():
    header, ruler, row = report.markdown([PUSH]).splitlines()
    assert header.count("|") == ruler.count("|") == row.count("|")
    assert row.startswith(f"| {SMALL_PUSH} | 23 (16) | 125 ms | 77, 22 | 2, 1 | 29,297 | 0.0400 |")


def test_the_picture_is_one_that_a_browser_reads():
    found = {SMALL_PUSH: PUSH, CLONE: SLOW}
    picture = ElementTree.fromstring(report.picture(found, list(verdicts(found))))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {SMALL_PUSH, CLONE, "$0.0400", "23 of 20", "23 of 40"} <= set(texts)
    bars = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in picture.iter() if bar.tag.endswith("rect")
            and not bar.attrib["width"].endswith("%")]  # fmt: skip
    assert max(bars) < float(picture.attrib["width"])


def test_a_trace_shows_which_call_waited_for_which(owner, meter):
    from bench.lambdas import Served
    from tests import builders
    from tests import client as hub

    assert hub.push(owner, "song", builders.graph("1").bundle()).status == 200
    meter.log.clear()
    assert hub.call("refs", owner, "song", by=owner).status == 200
    head, *calls = lines(Served("refs", 0, 0, 200, 0, 164, 0.0, 0, meter))
    assert head == "refs: 200, 0 bytes in, 164 out, 3 calls (2), 10 ms"
    assert [line.split()[0] for line in calls] == ["1", "1", "2"]
    assert sorted(line.split()[1] for line in calls) == ["BatchGetItem", "Query", "UpdateItem"]
    assert "REF#" in calls[2]
