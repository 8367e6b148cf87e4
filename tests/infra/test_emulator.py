"""What a request is, decided before moto sees it.

What moto then does is in test_embedded_aws.py.
"""

from infra.aws_request import Request
from infra.emulator import admitted

SIGNED = {"authorization": "AWS4-HMAC-SHA256 …"}


def test_only_what_matters_is_carried_out() -> None:
    headers = SIGNED | {
        "host": "h",
        "user-agent": "u",
        "x-amz-date": "d",
        "if-match": '"e"',
        "x-amz-meta-k": "v",
    }
    assert admitted(Request("PUT", "/b/k", headers, b"x")) == Request(
        "PUT", "/b/k", {"if-match": '"e"', "x-amz-meta-k": "v"}, b"x"
    )


def test_a_presigned_request_is_carried_out_without_its_signature() -> None:
    query = "X-Amz-Date=20260102T030359Z&X-Amz-Expires=6&X-Amz-Signature=s&x-id=PutObject&q=a%20%2B"
    found = admitted(Request("PUT", f"/b/k%2F?{query}", {}, b"x"))
    assert found == Request("PUT", "/b/k%2F?x-id=PutObject&q=a%20%2B", {}, b"x")
