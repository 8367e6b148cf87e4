"""The bench of a hub with much data, with little data."""

import json
from pathlib import Path

import pytest

from bench import large
from bench.history import generate


@pytest.mark.slow
def test_the_copies_can_be_cloned_and_the_folder_is_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = generate(1, commits=3, files=4, objects=9)
    monkeypatch.setattr(large, "generate", lambda seed: template)
    monkeypatch.setattr(large, "DEPTHS", (2, 6))
    monkeypatch.setattr(large, "REPEATS", 1)
    monkeypatch.setattr(large, "STARTS", 1)
    folder = tmp_path / "data"
    gigabytes = 4 * template.size() / 1e9
    assert large.main(["--gigabytes", str(gigabytes), "--folder", str(folder)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert set(results["fetch_of_1_commit_milliseconds"]) == {"2", "6"}
    assert results["clone_seconds"] > 0 and 0 < results["megabytes_at_rest"] < 200
    assert not folder.exists()
