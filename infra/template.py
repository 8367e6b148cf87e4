"""The text of template.yaml: infra/template_base.yaml, with the resources of
functions/endpoints.py.

Each function has a log group, and for its routes an integration and a permission. The routes are
plain API Gateway resources and not events of SAM, see infra/README.md.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from functions import grants
from functions.endpoints import ENDPOINTS, Edge, Endpoint, Route
from functions.grants import Grant
from shared import signing

BASE = Path(__file__).with_name("template_base.yaml")
"""All other resources. Each of its lines `# <name>` is replaced by the text with this name."""

_PARAMETER = (
    "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${SigningKeysParameter}"
)
_CLIENT_SECRETS = _PARAMETER.replace("SigningKeysParameter", "ClientSecretsParameter")
_API = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"
_PLACES = {
    grants.HUB: ("dynamodb", "!GetAtt HubTable.Arn"),
    grants.COUNTERS: ("dynamodb", "!GetAtt CounterTable.Arn"),
    grants.BUCKET: ("s3", "!GetAtt Bucket.Arn"),
    grants.STORED: ("s3", f'!Sub "${{Bucket.Arn}}/{grants.STORED}"'),
    grants.UPLOADS: ("s3", f'!Sub "${{Bucket.Arn}}/{grants.UPLOADS}"'),
    grants.STAGED: ("s3", f'!Sub "${{Bucket.Arn}}/{grants.STAGED}"'),
    grants.SIGNING_KEYS: ("ssm", f'!Sub "{_PARAMETER}"'),
    grants.CLIENT_SECRETS: ("ssm", f'!Sub "{_CLIENT_SECRETS}"'),
    grants.PRIVATE_KEYS: ("ssm", f'!Sub "{signing.private_parameter(_PARAMETER)}"'),
}
"""The service of a place, and its ARN."""


def text(endpoints: Iterable[Endpoint] = ENDPOINTS) -> str:
    """The whole template."""
    rows = list(endpoints)
    parts = {
        "endpoints": "\n".join(_endpoint(row) for row in rows),
        "streams": "\n".join(_stream(row) for row in rows if row.edge is Edge.STREAM),
        "behaviors": "".join(_behaviors(rows)),
    }
    template = BASE.read_text()
    for name, part in parts.items():
        before, _, after = re.split(rf"(?m)^( *# <{name}>\n)", template)
        template = before + part + after
    return template


def _logical_id(module: str) -> str:
    [logical_id] = [row.logical_id for row in ENDPOINTS if row.module == module]
    return logical_id


def _endpoint(endpoint: Endpoint) -> str:
    name = endpoint.title
    resources = f"""\
  {name}Function:
    Type: AWS::Serverless::Function
    Metadata: {{BuildMethod: makefile}}
    Properties:
      CodeUri: infra/sam
      Handler: functions.{endpoint.module}.handler
      MemorySize: {endpoint.memory_mb}
      Timeout: {endpoint.timeout_seconds}
{_environment(endpoint)}      LoggingConfig: {{LogGroup: !Ref {name}Log}}
{_policies(endpoint)}  {name}Log:
    Type: AWS::Logs::LogGroup
    Properties:
      RetentionInDays: 30
      Tags: [{{Key: service, Value: pieria}}]
"""
    if not endpoint.routes:
        return resources
    resources += f"""\
  {name}Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !GetAtt {name}Function.Arn
      PayloadFormatVersion: "2.0"
      TimeoutInMillis: 30000
"""
    for route in endpoint.routes:
        resources += _route(name, route)
    return f"""\
{resources}  {name}Permission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref {name}Function
      Principal: apigateway.amazonaws.com
      SourceArn: !Sub "{_API}"
"""


def _route(function: str, route: Route) -> str:
    keys = {f"{function}{route.name}Route": route.key}
    if route.key.startswith("GET "):
        keys[f"{function}{route.name}HeadRoute"] = route.key.replace("GET ", "HEAD ")
    if route.key == "$default":
        keys = {"OtherRoute": route.key}
    return "".join(
        f"""\
  {logical_id}:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Api
      RouteKey: {key}
      Target: !Sub "integrations/${{{function}Integration}}"
"""
        for logical_id, key in keys.items()
    )


def _environment(endpoint: Endpoint) -> str:
    values = dict(endpoint.variables)
    if endpoint.wakes:
        names = " ".join(f"${{{_logical_id(module)}}}" for module in endpoint.wakes)
        values["PIERIA_WAKE"] = f'!Sub "{names}"'
    if not values:
        return ""
    lines = "".join(f"          {name}: {value}\n" for name, value in values.items())
    return f"      Environment:\n        Variables:\n{lines}"


def _policies(endpoint: Endpoint) -> str:
    if not endpoint.grants:
        return ""
    statements = "".join(_statement(grant) for grant in endpoint.grants)
    if endpoint.wakes:
        arns = "".join(
            f"                - !GetAtt {_logical_id(module)}.Arn\n" for module in endpoint.wakes
        )
        statements += f"""\
            - Sid: Wake
              Effect: Allow
              Action: [lambda:InvokeFunction]
              Resource:
{arns}"""
    return f"""\
      Policies:
        - Version: "2012-10-17"
          Statement:
{statements}"""


def _statement(grant: Grant) -> str:
    service, resource = _PLACES[grant.place]
    actions = ", ".join(f"{service}:{action}" for action in grant.actions.split())
    statement = f"""\
            - Sid: {grant.name}
              Effect: Allow
              Action: [{actions}]
              Resource: {resource}
"""
    if not grant.partitions:
        return statement
    partitions = "".join(f'                    - "{pattern}"\n' for pattern in grant.partitions)
    return f"""\
{statement}              Condition:
                "ForAllValues:StringLike":
                  "dynamodb:LeadingKeys":
{partitions}"""


# ── The distribution ────────────────────────────────────────────────────────────────────────────


def _stream(endpoint: Endpoint) -> str:
    """A second function with the same permissions, as a web server with a URL."""
    name = f"{endpoint.title}Stream"
    return f"""\
  {name}Function:
    Condition: UseEdge
    Type: AWS::Serverless::Function
    Metadata: {{BuildMethod: makefile}}
    Properties:
      CodeUri: infra/sam
      Handler: run.sh
      MemorySize: {endpoint.memory_mb}
      Timeout: 300 # the largest reply, to a client with 2 Mbit/s
      Layers: # Web Adapter 1.1.0; 29 was withdrawn
        - !Sub "arn:aws:lambda:${{AWS::Region}}:753240598075:layer:LambdaAdapterLayerArm64:30"
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap
          AWS_LWA_INVOKE_MODE: response_stream
          AWS_LWA_PORT: "8080"
          AWS_LWA_READINESS_CHECK_PATH: /health
          PIERIA_MAX_REPLY_BYTES: "67108864" # the most that the stock client reads
          PIERIA_ORIGIN_SECRET: !Ref OriginSecret
      LoggingConfig: {{LogGroup: !Ref {name}Log}}
{_policies(endpoint)}  {name}Log:
    Condition: UseEdge
    Type: AWS::Logs::LogGroup
    Properties:
      RetentionInDays: 30
      Tags: [{{Key: service, Value: pieria}}]
  {name}Url:
    Condition: UseEdge
    Type: AWS::Lambda::Url
    Properties:
      TargetFunctionArn: !GetAtt {name}Function.Arn
      # The distribution could sign requests, but not the bodies of clients. It sends the secret.
      AuthType: NONE
      InvokeMode: RESPONSE_STREAM
  # A public URL needs both permissions since October 2025.
  {name}UrlPermission:
    Condition: UseEdge
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunctionUrl
      FunctionName: !Ref {name}Function
      Principal: "*"
      FunctionUrlAuthType: NONE
  {name}Permission:
    Condition: UseEdge
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref {name}Function
      Principal: "*"
      InvokedViaFunctionUrl: true
"""


def _behaviors(endpoints: list[Endpoint]) -> list[str]:
    """The paths in the order in which the distribution compares them.

    In a pattern, `*` matches slashes too: `/*/*/fetch` also matches the path of a file that is
    called `fetch`. So patterns of paths with a further parameter come first.
    """
    patterns: dict[Edge, list[str]] = {edge: [] for edge in Edge}
    patterns[Edge.API].append("/api/*")  # no owner has this name
    for endpoint in endpoints:
        for route in endpoint.routes:
            pattern, has_parameter = _pattern(route)
            is_default = endpoint.edge is Edge.API and not has_parameter
            if not is_default and pattern not in patterns[endpoint.edge]:
                patterns[endpoint.edge].append(pattern)
    return [_behavior(edge, pattern) for edge in Edge for pattern in patterns[edge]]


def _pattern(route: Route) -> tuple[str, bool]:
    """The path with `*` for the owner and the slug, and for everything from a further parameter.

    Also returns whether there is a further parameter.
    """
    path = route.key.partition(" ")[2]
    if path.startswith("/api/"):
        return "/api/*", True
    beginning, parameter, _ = re.sub(r"\{(owner|slug)\}", "*", path).partition("{")
    if parameter:
        return (f"{beginning}*", True)
    return (beginning, False)


_CACHE_POLICIES = {
    Edge.CACHE: "CachePolicyId: !Ref EdgeCache\nResponseHeadersPolicyId: !Ref EdgeHeaders",
}
_NO_CACHE = "CachePolicyId: 4135ea2d-6df8-44a3-9df3-4b5a84be39ad # AWS's CachingDisabled"


def _behavior(edge: Edge, pattern: str) -> str:
    lines = f"""\
PathPattern: "{pattern}"
TargetOriginId: {"api" if edge is Edge.CACHE else edge.value}
ViewerProtocolPolicy: https-only
AllowedMethods: [GET, HEAD, OPTIONS, PUT, PATCH, POST, DELETE]
{_CACHE_POLICIES.get(edge, _NO_CACHE)}
OriginRequestPolicyId: b689b0a8-53d0-40ab-baf2-68738e2966ac # all headers except Host
FunctionAssociations: [{{EventType: viewer-request, FunctionARN: !GetAtt EdgeViewer.FunctionARN}}]
"""
    if edge is not Edge.BODIES:
        return _item(lines, 10)
    condition = "          - !If\n            - UseLargeBodies\n"
    return f"{condition}{_item(lines, 12)}            - !Ref AWS::NoValue\n"


def _item(lines: str, columns: int) -> str:
    """The lines as an item of a YAML list, indented."""
    indent = " " * columns
    return f"{indent}- " + lines.strip().replace("\n", f"\n{indent}  ") + "\n"
