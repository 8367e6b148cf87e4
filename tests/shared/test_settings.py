"""The environment, read once; a complaint names variables and never a secret."""

import json
import traceback

import pytest
from pydantic import ValidationError

from shared import settings
from shared.settings import Settings

REQUIRED = ["PIERIA_HUB_TABLE", "PIERIA_COUNTER_TABLE", "PIERIA_BUCKET", "PIERIA_SIGNING_KEYS"]
SECRET = "hunter2-hunter2-hunter2-hunter2-"


def complaint() -> str:
    """The failure to load, as a log would show it."""
    with pytest.raises(ValidationError) as refused:
        settings.load()
    return "".join(traceback.format_exception(refused.value))


def test_defaults(configured):
    costs = ("LIMIT_COST_SUBJECT", "LIMIT_COST_OWNER", "LIMIT_COST_HUB")
    for name in ("PUSH_TO_CREATE", "LOG_LEVEL", *costs):
        configured.delenv(f"PIERIA_{name}", raising=False)
    loaded = settings.load()
    assert (loaded.hub_table, loaded.counter_table, loaded.bucket) == (
        "hub",
        "counters",
        "pieria-bytes",
    )
    assert list(loaded.signing_keys) == ["old", "new"]
    assert (loaded.limit_push, loaded.limit_fetch, loaded.limit_read, loaded.limit_upload) == (
        30,
        120,
        120,
        600,
    )
    assert (loaded.limit_cost_subject, loaded.limit_cost_owner, loaded.limit_cost_hub) == (
        2,
        10,
        50,
    )
    assert loaded.memory_mb == 0
    assert loaded.push_to_create is False
    assert loaded.max_body_bytes == 64 * 1024 * 1024
    assert loaded.max_object_bytes == 63 * 1024 * 1024
    assert loaded.log_level == "INFO"


def test_every_field_has_its_variable(configured):
    values = {
        "hub_table": "h",
        "counter_table": "c",
        "bucket": "b",
        "signing_keys": {"k": "s" * 32},
        "signing_keys_parameter": "",
        "push_to_create": True,
        "upkeep": False,
        "metrics": True,
        "limit_push": 1,
        "limit_fetch": 2,
        "limit_read": 3,
        "limit_upload": 4,
        "limit_cost_subject": 0.5,
        "limit_cost_owner": 1.5,
        "limit_cost_hub": 2.5,
        "limit_bytes_owner": 8,
        "max_body_bytes": 5,
        "max_reply_bytes": 6,
        "max_object_bytes": 7,
        "origin_secret": "o" * 32,
        "openid_issuer": "https://id.example",
        "openid_client_id": "one",
        "github_client_id": "two",
        "github_url": "https://git.example",
        "client_secrets": {"openid": "s"},
        "client_secrets_parameter": "/p",
        "local_issuers": False,
        "log_level": "DEBUG",
        "data": "d",
    }
    assert values.keys() | {"memory_mb"} == Settings.model_fields.keys()
    for name, value in values.items():
        configured.setenv(
            f"PIERIA_{name.upper()}", json.dumps(value) if isinstance(value, dict) else str(value)
        )
    configured.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
    assert settings.load().model_dump() == {**values, "memory_mb": 1769}


def test_it_is_read_once(configured):
    first = settings.load()
    configured.setenv("PIERIA_BUCKET", "other")
    assert settings.load() is first


def test_it_cannot_be_changed():
    with pytest.raises(ValidationError):
        settings.load().bucket = "other"  # type: ignore[misc]


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_variable_is_named(configured, missing):
    configured.delenv(missing)
    told = complaint()
    assert missing.removeprefix("PIERIA_").lower() in told
    assert (
        "Field required" in told
        or "set either PIERIA_SIGNING_KEYS or PIERIA_SIGNING_KEYS_PARAMETER" in told
    )


def test_the_keys_may_be_a_parameters_name_instead(configured):
    configured.delenv("PIERIA_SIGNING_KEYS")
    configured.setenv("PIERIA_SIGNING_KEYS_PARAMETER", "/pieria/keys")
    assert settings.load().signing_keys_parameter == "/pieria/keys"
    assert settings.load().signing_keys == {}


def test_two_sources_of_keys_are_one_too_many(configured):
    configured.setenv("PIERIA_SIGNING_KEYS_PARAMETER", "/pieria/keys")
    assert "set either PIERIA_SIGNING_KEYS or PIERIA_SIGNING_KEYS_PARAMETER" in complaint()


def test_all_missing_variables_are_named_at_once(configured):
    for missing in REQUIRED:
        configured.delenv(missing)
    told = complaint()
    assert all(missing.removeprefix("PIERIA_").lower() in told for missing in REQUIRED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIMIT_PUSH", "0"),
        ("LIMIT_FETCH", "-1"),
        ("LIMIT_READ", "many"),
        ("LIMIT_UPLOAD", "1.5"),
        ("LIMIT_COST_SUBJECT", "-1"),
        ("LIMIT_COST_OWNER", "nan"),
        ("LIMIT_COST_HUB", "inf"),
        ("LIMIT_BYTES_OWNER", "-1"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_OBJECT_BYTES", "0"),
        ("MAX_OBJECT_BYTES", str(1024**3 + 1)),
        ("PUSH_TO_CREATE", "maybe"),
    ],
)
def test_a_wrong_variable_is_named(configured, name, value):
    configured.setenv(f"PIERIA_{name}", value)
    assert name.lower() in complaint()


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(SECRET, id="the bare secret"),
        pytest.param(f'{{"new": "{SECRET}"', id="JSON cut short"),
        pytest.param(f'["{SECRET}"]', id="a list"),
        pytest.param(f'{{"new": ["{SECRET}"]}}', id="a list of secrets under one key"),
        pytest.param(f'{{"new": {{"secret": "{SECRET}"}}}}', id="a map under a key"),
        pytest.param(f'"{SECRET}"', id="a JSON text"),
    ],
)
def test_a_complaint_about_the_keys_does_not_print_them(configured, keys):
    configured.setenv("PIERIA_SIGNING_KEYS", keys)
    told = complaint()
    assert "signing_keys" in told
    assert "hunter2" not in told


def test_a_complaint_about_something_else_does_not_print_the_keys(configured):
    configured.setenv("PIERIA_SIGNING_KEYS", json.dumps({"new": SECRET}))
    configured.delenv("PIERIA_BUCKET")
    assert "hunter2" not in complaint()


def test_lambda_does_not_start_with_local_issuers(configured):
    configured.setenv("PIERIA_LOCAL_ISSUERS", "on")
    assert settings.load().local_issuers
    settings.load.cache_clear()
    configured.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
    assert "for a hub on one machine" in complaint()


@pytest.mark.parametrize("value", [SECRET, f'{{"openid": ["{SECRET}"]}}', f'["{SECRET}"]'])
def test_a_complaint_about_client_secrets_does_not_contain_them(configured, value):
    configured.setenv("PIERIA_CLIENT_SECRETS", value)
    assert "client_secrets" in (found := complaint()) and SECRET not in found
    with pytest.raises(ValueError, match="not a JSON object of client secrets") as refused:
        settings.parse_client_secrets(value)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
