"""The edge: `Edge: cloudfront`, resource by resource."""

import functools
import itertools
import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from shared import middleware, names, ratelimit
from tests.template.expansion import (
    STREAM,
    Properties,
    deployed,
    functions,
    of_type,
    parsed,
    router,
)
from tests.template.recorder import matches

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
"""Policies that AWS keeps under these ids in every account."""
ADAPTER = "arn:aws:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerArm64:30"
KEPT_BY_CLOUDFRONT = {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}
"""Failures that CloudFront caches for ten seconds by default."""


def resource(name: str) -> Properties:
    """Properties of a resource of the edge."""
    return dict(deployed("edge")["Resources"][name]["Properties"])


def distribution(variant: str = "edge") -> Properties:
    """The distribution's configuration."""
    found = deployed(variant)["Resources"]["Distribution"]["Properties"]
    return dict(found["DistributionConfig"])


@functools.cache
def behaviors() -> list[Properties]:
    """The behaviour for a path: the first that matches, else the last one."""
    return [
        *distribution()["CacheBehaviors"],
        {"PathPattern": "*", **distribution()["DefaultCacheBehavior"]},
    ]


@functools.cache
def behavior(path: str) -> Properties:
    """What CloudFront does with this path: its `*` is any text, its `?` one character."""
    return next(found for found in behaviors() if matches(found["PathPattern"], path))


def test_without_the_edge_there_is_none_of_it() -> None:
    edge_only = deployed("edge")["Resources"].keys() - deployed("plain")["Resources"].keys()
    assert edge_only == {
        "FetchStreamFunction", "FetchStreamFunctionRole", "FetchStreamLog", "FetchStreamUrl", "FetchStreamPermission",
        "FetchStreamUrlPermission", "EdgeViewer", "EdgeCache", "EdgeHeaders", "Distribution",
    }  # fmt: skip
    assert not deployed("plain")["Resources"].keys() - deployed("edge")["Resources"].keys()


# ── The function that streams ─────────────────────────────────────────────────────────────────────


def test_the_streaming_function_is_a_web_server_behind_the_adapter() -> None:
    function = resource(STREAM)
    assert function["Handler"] == "run.sh"
    assert function["Layers"] == [{"Fn::Sub": ADAPTER}], "29 was withdrawn"
    assert (function["Runtime"], function["Architectures"]) == (
        "python3.13",
        ["arm64"],
    ), "as the layer's"
    variables = function["Environment"]["Variables"]
    assert {name: value for name, value in variables.items() if name.startswith("AWS_")} == {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
        "AWS_LWA_INVOKE_MODE": "response_stream",
        "AWS_LWA_PORT": "8080",
        "AWS_LWA_READINESS_CHECK_PATH": (
            middleware.HEALTH
        ),  # else it would ask for `/` for as long as that is a failure
    }
    assert (
        function["MemorySize"]
        == deployed("edge")["Resources"]["FetchFunction"]["Properties"]["MemorySize"]
    )


def test_a_function_streams_if_its_url_does() -> None:
    """A reply in pieces under a buffered URL loses its body, one in one piece under a streaming one
    is a 500.
    """
    urls = of_type(deployed("edge"), "AWS::Lambda::Url")
    assert urls == {
        "FetchStreamUrl": {
            "TargetFunctionArn": {"Fn::GetAtt": [STREAM, "Arn"]},
            "AuthType": "NONE",
            "InvokeMode": "RESPONSE_STREAM",
        }
    }
    for name in functions().values():
        assert "AWS_LWA_INVOKE_MODE" not in resource(name)["Environment"]["Variables"]


def test_the_url_has_both_permissions_that_a_public_one_needs() -> None:
    permissions = of_type(deployed("edge"), "AWS::Lambda::Permission").values()
    mine = [found for found in permissions if found["FunctionName"] == {"Ref": STREAM}]
    assert sorted(mine, key=lambda found: str(found["Action"])) == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": STREAM},
            "Principal": "*",
            "InvokedViaFunctionUrl": True,
        },
        {
            "Action": "lambda:InvokeFunctionUrl",
            "FunctionName": {"Ref": STREAM},
            "Principal": "*",
            "FunctionUrlAuthType": "NONE",
        },
    ]


def test_no_property_that_sam_ignores_is_used() -> None:
    """A misspelt ResponseTransferMode of an event becomes a buffered reply; here no event of SAM's
    is used at all.
    """
    kinds = {
        found["Type"]
        for found in parsed()["Resources"].values()
        if found["Type"].startswith("AWS::Serverless")
    }
    assert kinds == {"AWS::Serverless::Function"}
    for name, found in parsed()["Resources"].items():
        if found["Type"] in kinds:
            assert (
                found["Properties"]
                .keys()
                .isdisjoint({"Events", "FunctionUrlConfig", "AutoPublishAlias"})
            ), name
            for policy in found["Properties"].get("Policies", []):
                assert policy.keys() == {
                    "Version",
                    "Statement",
                }, "SAM's ready policies are wider than their names"


# ── The distribution ──────────────────────────────────────────────────────────────────────────────


def test_both_origins_get_the_secret() -> None:
    origins = {origin["Id"]: origin for origin in distribution()["Origins"]}
    assert origins["api"]["DomainName"] == {
        "Fn::Sub": "${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"
    }
    url = {"Fn::GetAtt": ["FetchStreamUrl", "FunctionUrl"]}
    assert origins["stream"]["DomainName"] == {"Fn::Select": [2, {"Fn::Split": ["/", url]}]}
    assert len(origins) == 2
    for origin in origins.values():
        [header] = origin["OriginCustomHeaders"]
        assert header["HeaderName"].encode() == middleware.ORIGIN and header["HeaderValue"] == {
            "Ref": "OriginSecret"
        }
        assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
        assert origin["CustomOriginConfig"]["OriginSSLProtocols"] == ["TLSv1.2"]
        # 60 is the most that an account has without asking.
        assert 30 < origin["CustomOriginConfig"]["OriginReadTimeout"] <= 60


def test_every_function_accepts_only_requests_with_the_secret() -> None:
    for name in [*functions().values(), STREAM]:
        assert resource(name)["Environment"]["Variables"]["PIERIA_ORIGIN_SECRET"] == {
            "Ref": "OriginSecret"
        }, name


def test_the_hub_gets_the_address_of_the_client_and_no_client_can_set_it() -> None:
    viewer = resource("EdgeViewer")
    assert (
        viewer["AutoPublish"] is True and viewer["FunctionConfig"]["Runtime"] == "cloudfront-js-2.0"
    )
    [assignment] = re.findall(
        r'event\.request\.headers\["([a-z-]+)"\] = \{value: event\.viewer\.ip\};',
        viewer["FunctionCode"],
    )
    assert assignment.encode() == middleware.VIEWER
    assert "return event.request;" in viewer["FunctionCode"]
    for found in behaviors():
        assert found["FunctionAssociations"] == [
            {
                "EventType": "viewer-request",
                "FunctionARN": {"Fn::GetAtt": ["EdgeViewer", "FunctionARN"]},
            }
        ]
    assert distribution()["IPV6Enabled"] is False, (
        "an address is counted, and with IPv6 everybody has 2^64"
    )


def test_every_request_passes_as_it_was_sent() -> None:
    for found in behaviors():
        assert set(found["AllowedMethods"]) == {
            "GET",
            "HEAD",
            "OPTIONS",
            "PUT",
            "PATCH",
            "POST",
            "DELETE",
        }
        assert found["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST
        assert found["ViewerProtocolPolicy"] == "https-only", (
            "a redirect comes after the token was sent in the clear"
        )
        assert "Compress" not in found


NASTY = ["fetch", "objects", "raw", "tags", "releases", "push", "a.wav", "o"]


def paths(route: APIRoute) -> list[str]:
    """A route's path with every parameter given each name that looks like something else in a
    pattern.
    """
    parts = re.split(r"\{([a-z_]+)(:path)?\}", route.path)
    choices = []
    for place, part in enumerate(parts):
        if place % 3 == 0:
            choices.append([part])
        elif place % 3 == 1:
            slashed = (
                ["main/src/fetch", "v1/objects/x", "x/raw/fetch", "1/2/3/fetch"]
                if parts[place + 1]
                else []
            )
            choices.append(
                [name for name in NASTY if part != "owner" or names.is_handle(name)] + slashed
            )
    return ["".join(chosen) for chosen in itertools.product(*choices)]


@functools.cache
def all_routes() -> list[Any]:
    """(module, method, path) of every request there can be."""
    return [
        (module, method, path)
        for module in functions()
        for route in router(module).routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        for path in paths(route)
    ]


def test_fetch_is_streamed_and_nothing_else_is() -> None:
    lost = [
        f"{method} {path} → {behavior(path)['TargetOriginId']}"
        for module, method, path in all_routes()
        if (behavior(path)["TargetOriginId"] == "stream") != (module == "fetch")
    ]
    assert lost == []


def test_bytes_by_their_id_are_kept_and_nothing_else_has_to_be() -> None:
    kept = {
        module
        for module, _, path in all_routes()
        if behavior(path)["CachePolicyId"] == {"Ref": "EdgeCache"}
    }
    assert kept == {"objects"}
    for module, _, path in all_routes():
        if module == "objects":
            assert behavior(path)["CachePolicyId"] == {"Ref": "EdgeCache"}, path
    assert {str(found["CachePolicyId"]) for found in behaviors()} == {
        CACHING_DISABLED,
        "{'Ref': 'EdgeCache'}",
    }


def test_no_private_reply_is_cached_for_other_callers() -> None:
    policy = resource("EdgeCache")["CachePolicyConfig"]
    assert (policy["MinTTL"], policy["DefaultTTL"]) == (
        0,
        0,
    ), "only what the hub calls public may be kept"
    assert policy["MaxTTL"] <= 3600, "a repository may become private"
    key = policy["ParametersInCacheKeyAndForwardedToOrigin"]
    assert key["HeadersConfig"] == {"HeaderBehavior": "whitelist", "Headers": ["Authorization"]}
    assert key["QueryStringsConfig"] == {"QueryStringBehavior": "all"}
    assert key["CookiesConfig"] == {"CookieBehavior": "none"}


def test_no_cached_reply_states_an_allowance() -> None:
    removed = resource("EdgeHeaders")["ResponseHeadersPolicyConfig"]["RemoveHeadersConfig"]["Items"]
    assert {item["Header"] for item in removed} == ratelimit.headers(1, 1, 1).keys()
    for found in behaviors():
        kept = found["CachePolicyId"] == {"Ref": "EdgeCache"}
        assert found.get("ResponseHeadersPolicyId") == ({"Ref": "EdgeHeaders"} if kept else None)


def test_a_page_of_another_site_may_follow_a_redirect_to_the_bucket_and_only_read() -> None:
    [rule] = deployed("plain")["Resources"]["Bucket"]["Properties"]["CorsConfiguration"][
        "CorsRules"
    ]
    assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == (["*"], ["GET", "HEAD"])


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/me/song/refs/", "/me/song/refs"),
        ("/health/", "/health"),
        ("/", "/"),
        ("/me/song/refs", "/me/song/refs"),
        ("/me/song/raw/main/a/", "/me/song/raw/main/a/"),
    ],
)
def test_a_slash_at_the_end_is_taken_away_where_the_gateway_would_find_no_route(
    path: str, sent: str
) -> None:
    """The two patterns of the viewer function, which mean the same in Python."""
    code = resource("EdgeViewer")["FunctionCode"]
    [raw] = re.findall(r"if \(!/(.+)/\.test\(event\.request\.uri\)\)", code)
    [slash] = re.findall(
        r'event\.request\.uri = event\.request\.uri\.replace\(/(.+)/, "\$1"\);', code
    )
    assert (path if re.search(raw, path) else re.sub(slash, r"\1", path)) == sent


def test_no_failure_is_kept() -> None:
    """A stranger's 404 for a private repository would be its owner's, too."""
    kept = {
        found["ErrorCode"]: found["ErrorCachingMinTTL"]
        for found in distribution()["CustomErrorResponses"]
    }
    assert kept == dict.fromkeys(KEPT_BY_CLOUDFRONT, 0)
    assert all(
        found.keys() == {"ErrorCode", "ErrorCachingMinTTL"}
        for found in distribution()["CustomErrorResponses"]
    )


@pytest.mark.parametrize(
    ("variant", "aliases", "certificate"),
    [
        ("edge", None, {"CloudFrontDefaultCertificate": True}),
        (
            "full",
            [{"Ref": "DomainName"}],
            {
                "AcmCertificateArn": {"Ref": "CertificateArn"},
                "SslSupportMethod": "sni-only",
                "MinimumProtocolVersion": "TLSv1.2_2021",
            },
        ),
    ],
)
def test_the_distribution_has_the_name_it_was_given(
    variant: str, aliases: Any, certificate: Properties
) -> None:
    assert distribution(variant).get("Aliases") == aliases
    assert distribution(variant)["ViewerCertificate"] == certificate, (
        "an address of one's own is paid by the hour"
    )
