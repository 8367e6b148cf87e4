"""The keys of a hub in an account: the values of two SSM parameters. No secret is shown.

    NAME            the keys that verify tokens, and the secrets that sign cursors
    NAME-private    the private key, which signs tokens

`shared/signing.py` has the forms of the keys, and which functions read them.

The commands work without a hub, so the keys can exist before the first deployment. A hub on this
machine has its keys in its folder: if such a hub is selected, the commands do not change the
parameters of an account.
"""

import json as jsons
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from time import gmtime, sleep, strftime
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.cli import aws, hub, output, remote
from infra.cli.cli_error import CliError
from infra.cli.commands import plain
from infra.cli.output import Json
from infra.data_folder import KEYS
from shared import signing
from shared.keyring import FRESH_SECONDS, PAUSE_SECONDS
from shared.settings import parse_keys

SEAL_BYTES = 32
USUAL = "/pieria/signing-keys"

app = output.noun("Signing keys, with which a hub signs its tokens.")
Name = Annotated[
    str,
    typer.Option(
        "--parameter",
        metavar="NAME",
        envvar="PIERIA_SIGNING_KEYS_PARAMETER",
        help=f"The SSM parameter: the template's SigningKeysParameter. Usually {USUAL}.",
    ),
]


@dataclass(frozen=True, slots=True)
class Kept:
    """The value of a parameter: key id → key, oldest first.

    Version 0: it does not exist.
    """

    keys: dict[str, str]
    version: int = 0
    changed_at: float = 0.0


@app.command("list")
def list_(parameter: Name = "", json: Json = False) -> None:
    """List the ids of the keys, oldest first."""
    with output.failing():
        parameter = _account_parameter(parameter)
        kept = read(parameter)
        if not kept.version:
            raise CliError(f"there is no parameter {parameter} here: `pieria key rotate` makes it")
        signer = _signer(parameter, kept.keys)
    if json:
        keys = [
            {"key_id": key_id, "kind": signing.kind(key), "signs": key_id == signer}
            for key_id, key in kept.keys.items()
        ]
        output.document({"parameter": parameter, "changed_at": int(kept.changed_at), "keys": keys})
        return
    uses = {key_id: _use(key_id, key, signer) for key_id, key in kept.keys.items()}
    rows = [(key_id, signing.kind(kept.keys[key_id]), use) for key_id, use in uses.items()]
    output.table(["key", "kind", "use"], rows)


@app.command()
def rotate(parameter: Name = "", json: Json = False) -> None:
    """Add a key that signs from now on. Tokens that other keys signed stay valid until those keys
    are retired.

    The first key creates the parameters. A later key verifies for some seconds before it signs: a
    function that has just read the keys does not read them again so soon.
    """
    # The day is for people. The random part makes two keys of one day differ.
    key_id = f"{strftime('%Y-%m-%d', gmtime(output.now()))}-{secrets.token_hex(3)}"
    private, public = signing.new_pair()
    seal_id = f"seal-{key_id}"
    seal = f"{signing.SEAL}{secrets.token_hex(SEAL_BYTES)}"

    def known(keys: dict[str, str]) -> dict[str, str]:
        # In front of the other secrets, so that it verifies and does not sign yet.
        return {seal_id: seal, **keys, key_id: public}

    def signs(keys: dict[str, str]) -> dict[str, str]:
        seals = [name for name in keys if signing.kind(keys[name]) == "seal" and name != seal_id]
        dropped = {*seals[:-1], seal_id}
        return {name: key for name, key in keys.items() if name not in dropped} | {seal_id: seal}

    with output.failing():
        parameter = _account_parameter(parameter)
        private_parameter = signing.private_parameter(parameter)
        if read(parameter).version:
            _change(parameter, known)
            sleep(PAUSE_SECONDS + 1)
            _put(private_parameter, {key_id: private}, overwrite=True)
            _change(parameter, signs)
        else:
            # The private key first: if this stops in between, there is still no hub with keys.
            _put(private_parameter, {key_id: private}, overwrite=True)
            _change(parameter, known)
    if json:
        output.document({"parameter": parameter, "key_id": key_id})
    else:
        output.say(f"rotated: {key_id} signs from now on; tokens that other keys signed stay valid")


@app.command()
def retire(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY", help="The key: `pieria key list` shows them.")
    ],
    parameter: Name = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a key that does not sign any more. Every token that it signed becomes invalid."""
    shown = plain(key_id)
    with output.failing():
        parameter = _account_parameter(parameter)
    if not yes and json:
        output.fail(
            "nothing was retired: with --json, use --yes to invalidate all tokens signed with"
            f" {shown}"
        )
    if not yes and not typer.confirm(
        f"Invalidate all tokens signed with {shown}? It cannot be undone", err=True
    ):
        output.fail("nothing was retired")

    def without(keys: dict[str, str]) -> dict[str, str]:
        if key_id not in keys:
            raise CliError(
                f"there is no key {shown} in {parameter}: `pieria key list` shows its keys"
            )
        if key_id in (signer, list(signing.for_seals(keys))[-1]):
            raise CliError(
                f"{shown} is the key that signs: first add another one with `pieria key rotate`"
            )
        return {other: secret for other, secret in keys.items() if other != key_id}

    with output.failing():
        signer = _signer(parameter, read(parameter).keys)
        _change(parameter, without)
    if json:
        output.document({"parameter": parameter, "retired": key_id})
    else:
        output.say(
            f"retired: {shown}; tokens that it signed are invalid within {FRESH_SECONDS // 60}"
            " minutes"
        )


def _account_parameter(parameter: str) -> str:
    """The name of the parameter. Raises CliError if a hub on this machine is selected."""
    remote.refuse("the keys are parameters of an AWS account, which no request can read or change")
    if parameter:
        return parameter
    local_keys = hub.FOLDER / KEYS
    if "PIERIA_HUB_TABLE" not in os.environ and local_keys.is_file():
        raise CliError(
            f"the hub on this machine keeps its keys in {local_keys}: to invalidate all its tokens,"
            " stop it, delete that file and start it again; for a hub in an account, use"
            " --parameter"
        )
    return USUAL


def _change(name: str, change: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, str]:
    """Apply `change` to the keys, write them, and return them.

    Raises CliError, also if another process changed the parameter meanwhile.
    """
    kept = read(name)
    keys = change(kept.keys)
    # SSM has no conditional write, but the reply has the version: a gap in versions shows another
    # change.
    reply = _put(name, keys, overwrite=kept.version > 0)
    if reply is None or reply["Version"] != kept.version + 1:
        raise CliError(
            f"another process changed {name} at the same time, and one change may have undone the"
            " other: check `pieria key list`, and repeat the change that is missing"
        )
    return keys


def _put(name: str, keys: dict[str, str], *, overwrite: bool) -> Any:
    """SSM's reply. None if the parameter exists and should not. Raises CliError."""
    value = jsons.dumps(keys)
    return _call(name, "put_parameter", Value=value, Type="SecureString", Overwrite=overwrite)


def _signer(parameter: str, keys: dict[str, str]) -> str:
    """The id of the key that signs tokens: the private key, or the newest secret without one.

    Raises CliError.
    """
    private = read(signing.private_parameter(parameter))
    candidates = private.keys or signing.for_tokens(keys)
    return list(candidates)[-1] if candidates else ""


def _use(key_id: str, key: str, signer: str) -> str:
    if key_id == signer:
        return "signs tokens, and verifies"
    return "signs cursors" if signing.kind(key) == "seal" else "verifies"


def read(name: str) -> Kept:
    """The value of the parameter. Raises CliError, also for a value that is not a set of keys."""
    reply = _call(name, "get_parameter", WithDecryption=True)
    if reply is None:
        return Kept({})
    found = reply["Parameter"]
    try:
        keys = parse_keys(found["Value"])
    except ValueError as error:
        raise CliError(
            f"{name} is {error}: use another with --parameter, or delete it and rotate"
        ) from None
    return Kept(keys, found["Version"], found["LastModifiedDate"].timestamp())


def _call(name: str, operation: str, **more: Any) -> Any:
    """SSM's reply. None if the parameter does not exist, or if it exists and should not. Raises
    CliError."""
    try:
        client: Any = boto3.Session().client("ssm")
        return getattr(client, operation)(Name=name, **more)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ParameterNotFound", "ParameterAlreadyExists"):
            return None
        refused = aws.refused(aws.KEYS, name, error)
        raise CliError(f"{refused.result}: {refused.fix}") from None
    except (BotoCoreError, ValueError) as error:
        unanswered = aws.unanswered(aws.KEYS, "AWS", error)
        raise CliError(f"{unanswered.result}: {unanswered.fix}") from None
