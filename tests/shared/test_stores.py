"""The hosts of presigned URLs, with the environment of a function in each Region.

No call is made.
"""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import botocore
import pytest

from shared import settings
from shared.engines import selection
from shared.engines.s3 import DNS_SUFFIXES_OF_AWS
from shared.model import Loose, ObjectId, Repo, RepoId

OBJECT_ID = "5" * 64
REGIONAL_HOSTS = {
    "us-east-1": "s3.us-east-1.amazonaws.com",
    "eu-central-1": "s3.eu-central-1.amazonaws.com",
    "af-south-1": "s3.af-south-1.amazonaws.com",
    "ap-southeast-2": "s3.ap-southeast-2.amazonaws.com",
    "cn-north-1": "s3.cn-north-1.amazonaws.com.cn",
    "us-gov-west-1": "s3.us-gov-west-1.amazonaws.com",
    "eusc-de-east-1": "s3.eusc-de-east-1.amazonaws.eu",
    "us-iso-east-1": "s3.us-iso-east-1.c2s.ic.gov",
}

Environment = Callable[..., None]


@pytest.fixture
def environment(configured: pytest.MonkeyPatch) -> Environment:
    """Sets the environment of a function that has no endpoint of its own, then the given
    variables.
    """

    def change(**variables: str) -> None:
        configured.delenv("AWS_ENDPOINT_URL")
        for name, value in variables.items():
            configured.setenv(name, value)
        settings.load.cache_clear()

    return change


async def presigned() -> tuple[str, str | None]:
    """A URL to upload an object, and one to download it (None: the hub sends it itself)."""
    try:
        repository = (await selection.stores()).of(Repo("ada", "song", RepoId("r")))
        upload = await repository.quarantine.presign(ObjectId(OBJECT_ID), 60)
        loose = Loose(10_000_000)
        objects = repository.objects
        download = await objects.presigned_get(
            ObjectId(OBJECT_ID), loose, 60, "audio/midi", "attachment"
        )
    finally:
        await selection.close()
    return upload, download


@pytest.mark.asyncio
@pytest.mark.parametrize(("region", "host"), REGIONAL_HOSTS.items())
async def test_a_presigned_url_has_the_regional_host_of_the_bucket(environment, region, host):
    environment(AWS_DEFAULT_REGION=region)
    upload, download = await presigned()
    assert urlsplit(upload).netloc == f"pieria-bytes.{host}"
    assert urlsplit(upload).path == f"/uploads/r/{OBJECT_ID}"
    assert download is not None
    assert urlsplit(download).netloc == f"pieria-bytes.{host}"
    assert urlsplit(download).path == f"/repos/r/objects/{OBJECT_ID}"


@pytest.mark.asyncio
async def test_a_bucket_with_a_dot_is_named_in_the_path_because_the_certificate_covers_one_label(
    environment,
):
    environment(AWS_DEFAULT_REGION="eu-central-1", PIERIA_BUCKET="pieria.bytes")
    upload, _ = await presigned()
    assert upload.startswith(
        f"https://s3.eu-central-1.amazonaws.com/pieria.bytes/uploads/r/{OBJECT_ID}?"
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_an_emulator_gets_the_bucket_in_the_path(environment, variable):
    environment(AWS_DEFAULT_REGION="eu-central-1", **{variable: "http://localhost:9000"})
    upload, download = await presigned()
    assert upload.startswith(f"http://localhost:9000/pieria-bytes/uploads/r/{OBJECT_ID}?")
    assert download is None, "a client may not reach the emulator"


@pytest.mark.asyncio
async def test_an_emulator_of_the_configuration_file_gets_the_bucket_in_the_path(
    environment, tmp_path
):
    file = tmp_path / "config"
    file.write_text("[default]\nregion = eu-central-1\nendpoint_url = http://localhost:9000\n")
    environment(AWS_CONFIG_FILE=str(file))
    upload, _ = await presigned()
    assert upload.startswith(f"http://localhost:9000/pieria-bytes/uploads/r/{OBJECT_ID}?")


def test_the_suffixes_are_those_that_botocore_knows():
    partitions = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())[
        "partitions"
    ]
    assert set(DNS_SUFFIXES_OF_AWS) == {
        "." + partition["outputs"]["dnsSuffix"] for partition in partitions
    }
