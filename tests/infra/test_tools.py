"""Environments from locks: the time and content of an installation, and the message of a failure.

No network is used.
"""

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import ports, tools

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Path]:
    """A folder of wheels, which a package index on this machine offers."""
    folder = tmp_path / "index"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            if (folder / name).is_file():
                content, kind = (folder / name).read_bytes(), "application/zip"
            else:
                links = [
                    f'<a href="/{path.name}">{path.name}</a>'
                    for path in folder.glob(f"{name}-*.whl")
                ]
                content, kind = "".join(links).encode(), "text/html"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = http://127.0.0.1:{server.server_port}\n"
    )
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without `.venv` whose package index is set for pip only, and is down.

    uv is the real one.
    """
    tools.environment("uv")
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = http://127.0.0.1:{ports.free()}\n")
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(tools, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(tools, "DEV_LOCK", tmp_path / "dev.lock")
    monkeypatch.setattr(tools, "AWS_LOCK", tmp_path / "aws.lock")
    return tmp_path


def publish(index: Path, name: str, version: str) -> str:
    """Put a package with one module into the index. Returns its line of a lock."""
    metadata = f"{name}-{version}.dist-info"
    wheel = index / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        packed.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        packed.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr(f"{metadata}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def lock(project: Path, name: str, *lines: str) -> Path:
    path = project / name
    path.write_text("".join(lines))
    return path


def installed(project: Path) -> list[str]:
    """The modules in `.venv`."""
    return sorted(
        path.stem
        for path in (project / ".venv").glob("lib/python3*/site-packages/*.py")
        if path.stem[0] != "_"
    )


def test_a_lock_is_installed_once_from_the_index_that_pip_uses(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = lock(project, "serve.lock", publish(index, "song", "1.0"))
    tools.prepare_venv(wanted)
    assert installed(project) == ["song"]
    assert "Installing the packages" in capfd.readouterr().err

    tools.prepare_venv(wanted)
    assert capfd.readouterr().err == ""


def test_the_lock_of_the_suite_serves_a_hub_too_and_a_changed_lock_is_installed(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    song, drum = publish(index, "song", "1.0"), publish(index, "drum", "1.0")
    serve = lock(project, "serve.lock", song)
    dev = lock(project, "dev.lock", song, drum)
    tools.prepare_venv(dev)
    assert installed(project) == ["drum", "song"]
    capfd.readouterr()
    tools.prepare_venv(serve)
    assert installed(project) == ["drum", "song"] and capfd.readouterr().err == ""

    newer = publish(index, "song", "2.0")
    lock(project, "dev.lock", newer, drum)
    tools.prepare_venv(lock(project, "serve.lock", newer))
    (module,) = (project / ".venv").glob("lib/python3*/site-packages/song.py")
    assert "2.0" in module.read_text()
    tools.prepare_venv(dev)
    assert installed(project) == ["drum", "song"]


def test_the_packages_of_a_hub_in_an_account_serve_a_hub_on_this_machine_too(
    project: Path, index: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    song, drum = publish(index, "song", "1.0"), publish(index, "drum", "1.0")
    serve, aws = lock(project, "serve.lock", song), lock(project, "aws.lock", song, drum)
    tools.prepare_venv(serve)
    assert installed(project) == ["song"]
    tools.prepare_venv(aws)
    assert installed(project) == ["drum", "song"]
    capfd.readouterr()
    tools.prepare_venv(serve)
    assert installed(project) == ["drum", "song"] and capfd.readouterr().err == ""


def test_an_environment_is_made_again_after_its_python_was_removed(
    project: Path, index: Path
) -> None:
    wanted = lock(project, "serve.lock", publish(index, "song", "1.0"))
    tools.prepare_venv(wanted)
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(project / "removed")
    tools.prepare_venv(wanted)
    assert subprocess.run([python, "-c", "import song"]).returncode == 0


def test_a_package_with_another_digest_is_refused(project: Path, index: Path) -> None:
    line = publish(index, "song", "1.0")
    wheel = index / "song-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    wanted = lock(project, "serve.lock", line)
    with pytest.raises(tools.Unable, match=r"serve\.lock could not be installed"):
        tools.prepare_venv(wanted)
    assert installed(project) == []


def test_without_a_network_the_last_line_is_one_with_a_next_step(project: Path) -> None:
    wanted = lock(project, "serve.lock", f"song==1.0 --hash=sha256:{'0' * 64}\n")
    program = (
        "import sys; from pathlib import Path; from infra import tools\n"
        f"tools.VENV = Path({str(tools.VENV)!r}); tools.DEV_LOCK = Path({str(tools.DEV_LOCK)!r})\n"
        f"sys.argv = ['tools', '--venv', {str(wanted)!r}]; sys.exit(tools.main())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.fullmatch(
        r"pieria: serve\.lock could not be installed.*network.*", done.stderr.splitlines()[-1]
    )


# ── The Makefile ──────────────────────────────────────────────────────────────────────────────────


def make(*arguments: str) -> str:
    """What make prints, or would do."""
    # Under another make it would also print the directory.
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def pinned(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_make_alone_lists_the_targets() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = [line.split()[1] for line in make().splitlines()]
    assert listed == targets and len(targets) > 15
    assert make("help") == make()


@pytest.mark.parametrize(
    ("command", "installed"),
    [
        ("serve", "serve"),
        ("serve ENGINE=moto", "aws"),
        ("deploy", "aws"),
        ("invoke", "aws"),
    ],
)
def test_a_command_that_runs_a_hub_installs_only_the_packages_that_it_needs(
    command: str, installed: str
) -> None:
    planned = make("--dry-run", *command.split())
    assert re.findall(r"--venv (\S+)", planned) == [f"infra/locks/{installed}.lock"]


def test_a_build_installs_nothing_into_the_environment() -> None:
    assert "--venv" not in make("--dry-run", "build")


def test_a_machine_that_cannot_get_chromium_states_which_tests_it_skips(tmp_path: Path) -> None:
    """In a copy, without the rule that installs packages, and with an installer that fails."""
    rule = re.compile(r"^dev-packages:.*\n(\t.*\n)+", re.MULTILINE)
    makefile = rule.sub("dev-packages:\n", (ROOT / "Makefile").read_text())
    names = "chromium chromium-browser google-chrome"
    assert names in makefile
    (tmp_path / "Makefile").write_text(makefile.replace(names, "no-browser"))
    installer = tmp_path / "playwright"
    installer.write_text("#!/bin/sh\nexit 1\n")
    installer.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = ["make", "-s", "chromium", f"BIN={tmp_path}"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "tests in a browser are skipped" in done.stderr


def test_a_larger_lock_has_every_package_of_a_smaller_one_in_the_same_version() -> None:
    hub, aws = pinned(tools.LOCKS / "serve.lock"), pinned(tools.LOCKS / "aws.lock")
    assert hub.items() <= aws.items() <= pinned(ROOT / "requirements.lock").items()
    assert {"typer", "uvicorn"} <= hub.keys()
    assert not {"moto", "boto3", "botocore", "docker"} & hub.keys()
    assert "moto" in aws
    assert not {"pytest", "mypy", "ruff", "cfn-lint", "sympy"} & aws.keys()
