"""docs/limits.md: each size in its tables is that of the code and of the template."""

import re
from pathlib import Path

from infra.relay import downloads, uploads
from shared import codec, file_response, http, streaming
from shared.actions import quarantine, releases, tags
from shared.settings import EXPANDED_BYTES, Settings
from tests.template.expansion import STREAM, deployed, functions, parsed

PAGE = (Path(__file__).parent.parent / "docs" / "limits.md").read_text()
STOCK_CLIENT_BYTES = downloads.CLIENT_BYTES
"""The bytes of a reply that the stock client reads."""
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6}


def in_bytes(cell: str) -> int | None:
    """The bytes that a cell states; None for a cell without a size."""
    found = re.fullmatch(r"([\d.,]+) (\w+)", cell)
    return round(float(found[1].replace(",", "")) * UNITS[found[2]]) if found else None


def table(title: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def variables(function: str, variant: str) -> dict[str, str]:
    """The environment of a function of a deployment."""
    found = deployed(variant)["Resources"][function]["Properties"]["Environment"]["Variables"]
    return dict(found)


def test_the_limits_by_deployment_are_those_of_settings_and_template() -> None:
    usual = {
        name: int(field.default)
        for name, field in Settings.model_fields.items()
        if name.startswith("max_")
    }
    lambdas = functions()
    body = int(variables(lambdas["push"], "plain")["PIERIA_MAX_BODY_BYTES"])
    reply = int(variables(lambdas["fetch"], "plain")["PIERIA_MAX_REPLY_BYTES"])
    streamed = int(variables(STREAM, "edge")["PIERIA_MAX_REPLY_BYTES"])
    largest_file = int(parsed()["Parameters"]["MaxObjectBytes"]["Default"])
    own = (usual["max_body_bytes"], usual["max_object_bytes"], usual["max_reply_bytes"])
    relayed = (EXPANDED_BYTES, largest_file, STOCK_CLIENT_BYTES)
    expected = {
        "one machine (`make serve`)": own,
        "one machine, with the relay": relayed,
        "container": own,
        "container, with the relay": relayed,
        "Lambda": (body, largest_file, reply),
        "Lambda, with the relay": relayed,
        "Lambda with edge": (body, largest_file, streamed),
        "Lambda with edge, with the relay": relayed,
        "Lambda with edge and `LargeBodies`": (EXPANDED_BYTES, largest_file, streamed),
    }
    assert {row[0]: tuple(map(in_bytes, row[1:4])) for row in table("By deployment")} == expected
    assert {row[0]: row[4] for row in table("By deployment")} == {
        name: "any" if name.endswith("with the relay") else "–" for name in expected
    }


def test_a_body_that_the_relay_sends_directly_fits_through_lambda() -> None:
    body = int(variables(functions()["push"], "plain")["PIERIA_MAX_BODY_BYTES"])
    assert max(uploads.DIRECT_BYTES, uploads.SLICE_BYTES) < body
    program = (Path(__file__).parent.parent / "infra" / "web_function" / "index.js").read_text()
    [direct] = re.findall(r"const DIRECT_BYTES = ([\d_]+);", program)
    assert int(direct) < body


def test_the_largest_file_leaves_room_for_its_commit_in_a_reply_that_the_stock_client_reads() -> (
    None
):
    [largest] = {in_bytes(row[2]) for row in table("By deployment")}
    assert (
        largest == STOCK_CLIENT_BYTES - 2**20 == Settings.model_fields["max_object_bytes"].default
    )


def test_the_limits_of_every_deployment_are_those_of_the_code() -> None:
    expected = [
        codec.JSON_BYTES,
        http.ID_LIST_BYTES,
        http.API_BYTES,
        tags.REQUEST_BYTES,
        tags.RECORD_BYTES,
        releases.RECORD_BYTES,
        quarantine.VERIFIED_BYTES,
        streaming.JSON_BYTES,
        codec.REPLY_BYTES,
        file_response.REPLY_BYTES,
        file_response.TEXT_REPLY_BYTES,
    ]
    assert [in_bytes(row[1]) for row in table("In every deployment")] == expected


def test_a_setting_raises_the_largest_file_to_the_limit_of_one_push() -> None:
    assert parsed()["Parameters"]["MaxObjectBytes"]["MaxValue"] == quarantine.VERIFIED_BYTES
    [most] = [
        rule.le
        for rule in Settings.model_fields["max_object_bytes"].metadata
        if hasattr(rule, "le")
    ]
    assert most == quarantine.VERIFIED_BYTES
