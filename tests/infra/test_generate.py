"""The files that are generated from the table of endpoints, and the rules of the table."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from functions import grants
from functions.endpoints import ENDPOINTS, WIRE, Edge, Endpoint, Route
from infra import generate, stack, template

CONSUMER = Endpoint("consumer", (), (grants.READ_ALL,), memory_mb=512, timeout_seconds=60)
"""A function that another event than a request calls."""


def test_every_generated_file_is_current() -> None:
    stale = [
        str(path)
        for path, content in generate.files().items()
        if (generate.ROOT / path).read_text() != content
    ]
    assert stale == [], "run `make generate`"


def test_every_sample_event_is_generated() -> None:
    assert {path.stem for path in generate.EVENTS.glob("*.json")} == generate.events().keys()


def test_a_changed_row_makes_the_files_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route("GET /{owner}/{slug}/echo", "readers", "the same again", query="word=la")
    monkeypatch.setattr(generate, "WIRE", (*WIRE, Endpoint("echo", (route,))))
    monkeypatch.setattr(generate, "ENDPOINTS", (*ENDPOINTS, Endpoint("echo", (route,))))
    made = generate.files()
    assert (
        "| `GET /{owner}/{slug}/echo?word=` | readers | the same again |\n"
        in made[Path("docs/api.md")]
    )
    assert '"rawQueryString": "word=la"' in made[Path("sample_events/echo.json")]


def test_a_function_without_routes_has_no_integration_and_no_permission_for_the_api(
    tmp_path: Path,
) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(template.text([*ENDPOINTS, CONSUMER]))
    resources = stack.resources(file)
    added = resources.keys() - stack.resources().keys()
    assert added == {"ConsumerFunction", "ConsumerLog"}
    properties = resources["ConsumerFunction"].properties
    assert (properties["MemorySize"], properties["Timeout"]) == (512, 60)
    assert properties["Handler"] == "functions.consumer.handler"


def test_every_mark_of_the_base_is_replaced() -> None:
    base = template.BASE.read_text()
    assert base.count("# <") == 3
    assert "# <" not in template.text()


def test_no_resource_is_written_twice() -> None:
    """YAML would take the last one."""
    nodes = yaml.compose(template.text(), Loader=yaml.SafeLoader)
    assert isinstance(nodes, yaml.MappingNode)
    sections = {key.value: value for key, value in nodes.value}
    names = Counter(key.value for key, _ in sections["Resources"].value)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.module)
def test_a_function_has_one_grant_for_an_action_at_a_place(endpoint: Endpoint) -> None:
    """IAM allows a batch only if one statement covers all of its partitions."""
    actions = Counter(
        (grant.place, action) for grant in endpoint.grants for action in grant.actions.split()
    )
    assert [action for action, count in actions.items() if count > 1] == []
    names = [grant.name for grant in endpoint.grants]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.module)
def test_the_names_of_a_functions_routes_differ(endpoint: Endpoint) -> None:
    names = [route.name for route in endpoint.routes]
    assert len(names) == len(set(names))


def test_the_distribution_compares_a_path_with_a_parameter_before_the_paths_that_stream() -> None:
    wiki = Route("GET /{owner}/{slug}/wiki/{page+}", "readers", "a page")
    home = Route("GET /{owner}", "everyone", "a user")
    made = template.text([*ENDPOINTS, Endpoint("wiki", (home, wiki))])
    patterns = [line.strip() for line in made.splitlines() if "PathPattern" in line]
    assert patterns.index('- PathPattern: "/*/*/wiki/*"') < patterns.index(
        '- PathPattern: "/*/*/fetch"'
    )
    assert '- PathPattern: "/*"' not in patterns, "it is the default"
    assert [row.module for row in ENDPOINTS if row.edge is Edge.STREAM] == ["fetch"], (
        "run.sh serves it"
    )
