"""A web page of another origin in a real browser, on the machine of the hub: it reads and changes
nothing.

Needs Chromium (`chromium` on Debian); skipped without it.
"""

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import httpx
import pytest
from botocore.config import Config

from infra import stack
from infra.embedded_aws import EmbeddedAws
from tests.infra.test_serve import Hub, hub

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

PAGE = """<!doctype html><iframe name="frame"></iframe><script>
const requests = REQUESTS;
async function tried({name, url, ...options}) {
  try {
    const reply = await fetch(url, options);
    return {name, type: reply.type, status: reply.status, text: await reply.text()};
  } catch (error) {
    return {name, type: "refused", text: String(error)};
  }
}
async function run() {
  const found = [];
  for (const request of requests) found.push(await tried(request));
  for (const action of FORMS) {
    const form = document.createElement("form");
    Object.assign(form, {action, method: "POST", target: "frame", enctype: "text/plain"});
    form.append(Object.assign(document.createElement("input"), {name: "BODY", value: ""}));
    document.body.append(form);
    const loaded = new Promise(resolve => { document.querySelector("iframe").onload = resolve; });
    form.submit();
    await loaded;
    let text = "";
    try { text = frames[0].document.body.innerText; } catch (error) { text = String(error); }
    found.push({name: `form ${action}`, type: "form", text});
  }
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
}
run();
</script>"""


@contextmanager
def page(
    requests: list[dict[str, Any]], forms: list[str], body: str
) -> Iterator[tuple[str, Queue[Any]]]:
    """The URL of a page that sends these requests, and the queue with its report of the replies."""
    found: Queue[Any] = Queue()
    text = (
        PAGE.replace("REQUESTS", json.dumps(requests))
        .replace("FORMS", json.dumps(forms))
        .replace("BODY", body)
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(text.encode())

        def do_POST(self) -> None:
            found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(b"")

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", found
        server.shutdown()


def browser(profile: Path, *arguments: str) -> list[str]:
    """A command line of the browser. It connects only to the given pages."""
    return [
        str(BROWSER),
        "--headless",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        *arguments,
    ]


NAMES = {"HubTable": "browser-hub", "Bucket": "browser-bytes"}


class Attacked(NamedTuple):
    """A hub with a private repository, and an emulated AWS with one object."""

    hub: Hub
    aws_url: str
    s3: "S3Client"


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    with hub(tmp_path / "data") as running, EmbeddedAws() as aws:
        assert running.push(1, "the private song").status_code == 200
        headers = {"Authorization": f"Bearer {running.token}"}
        url = f"{running.url}/api/v1/repos/me/song"
        assert httpx.patch(url, json={"visibility": "private"}, headers=headers).status_code == 200
        stack.create(aws.url, NAMES)
        by_path = Config(s3={"addressing_style": "path"})
        s3 = boto3.client("s3", endpoint_url=aws.url, config=by_path)
        s3.put_object(Bucket=NAMES["Bucket"], Key="repos/secret-key", Body=b"the private song")
        yield Attacked(running, aws.url, s3)


def test_a_page_of_another_origin_reads_and_changes_nothing(
    attacked: Attacked, tmp_path: Path
) -> None:
    running, aws_url, s3 = attacked
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=NAMES["Bucket"])["Contents"]]
    bucket = f"{aws_url}/{NAMES['Bucket']}"
    signature = "X-Amz-Date=20991231T000000Z&X-Amz-Expires=60&X-Amz-Signature=any"
    deletion = f"<Delete><Object><Key>{keys[0]}</Key></Object></Delete>"
    row = json.dumps({"TableName": NAMES["HubTable"]})
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("list", f"{bucket}?list-type=2&{signature}", {}),
        ("get", f"{bucket}/{keys[0]}?{signature}", {}),
        ("delete one", f"{bucket}/{keys[0]}?{signature}", {"method": "DELETE"}),
        ("delete many", f"{bucket}?delete&{signature}", {"method": "POST", "body": deletion}),
        ("overwrite", f"{bucket}/{keys[0]}?{signature}", {"method": "PUT", "body": "x"}),
        ("scan", f"{aws_url}/?{signature}", {"method": "POST", "body": row}),
        ("refs", f"{running.url}/me/song/refs", {}),
        ("push", f"{running.url}/me/song/push", {"method": "POST", "body": "{}"}),
        ("object", f"{running.url}/-/objects/{keys[0]}?method=GET&{signature}", {}),
    ]
    requests = [
        {"name": f"{mode} {name}", "url": url, "mode": mode, **options}
        for mode in ("no-cors", "cors")
        for name, url, options in attempts
        if mode == "cors" or options.get("method", "GET") in ("GET", "POST")
    ]
    signed = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=x",
        "X-Amz-Target": "DynamoDB_20120810.Scan",
    }
    requests.append(
        {
            "name": "signed",
            "url": aws_url,
            "method": "POST",
            "body": row,
            "headers": signed,
        }
    )
    forms = [f"{bucket}?delete&{signature}", f"{running.url}/me/song/push"]
    with (
        page(requests, forms, deletion) as (url, found),
        subprocess.Popen(
            browser(tmp_path / "profile", "--remote-debugging-port=0", url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        try:
            report = found.get(timeout=PATIENCE_SECONDS)
        finally:
            process.terminate()
    assert [one["name"] for one in report] == [one["name"] for one in requests] + [
        f"form {action}" for action in forms
    ]
    # The hub lets a page read what anybody may read. The embedded AWS lets a page read nothing.
    of_the_hub = {"cors refs", "cors push"}
    for one in report:
        expected = {"no": "opaque", "fo": "form"}.get(one["name"][:2], "refused")
        assert one["type"] == expected or one["name"] in of_the_hub, one
        assert keys[0] not in one["text"] and "private song" not in one["text"], one
    assert [
        entry["Key"] for entry in s3.list_objects_v2(Bucket=NAMES["Bucket"])["Contents"]
    ] == keys
    assert b"the private song" in s3.get_object(Bucket=NAMES["Bucket"], Key=keys[0])["Body"].read()


def test_a_name_that_was_pointed_to_this_machine_gets_a_refusal(
    attacked: Attacked, tmp_path: Path
) -> None:
    """DNS rebinding: the page's own name leads to the hub, so the page may read the answers."""
    running, aws_url, _ = attacked
    for index, url in enumerate((running.url, aws_url)):
        port = url.rpartition(":")[2]
        profile = tmp_path / f"profile{index}"
        rebound = [
            "--host-resolver-rules=MAP evil.example 127.0.0.1",
            "--dump-dom",
            f"http://evil.example:{port}/health",
        ]
        shown = subprocess.run(
            browser(profile, *rebound),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        ).stdout
        assert "evil.example" in shown or "answers only to the name" in shown
        assert '{"status":"ok"}' not in shown
