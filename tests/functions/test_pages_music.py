"""MIDI files on pages: as a piano roll, and two versions of one over each other."""

import io
from collections.abc import Sequence

import mido
import pytest

from shared.web import piano_roll
from tests.functions.web import checked, get, pushed

Notes = Sequence[tuple[int, int, int]]
"""Pitch, start and length in ticks."""


def midi(notes: Notes, name: str = "Lead", tempo: int = 120) -> bytes:
    """A MIDI file of one track."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    track.append(mido.MetaMessage("time_signature", numerator=3, denominator=4))
    events = [(start, pitch, 90) for pitch, start, _ in notes]
    events += [(start + length, pitch, 0) for pitch, start, length in notes]
    last = 0
    for at, pitch, velocity in sorted(events, key=lambda one: (one[0], one[2])):
        track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=at - last))
        last = at
    file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


VERSE = [(60, 0, 480), (64, 480, 480), (67, 960, 480)]


def test_a_midi_file_is_a_piano_roll_with_tracks_tempo_and_bars(owner: str) -> None:
    pushed(owner, {"song.mid": midi(VERSE, "Lead <b>", 96)})
    page = checked(get(f"/{owner}/song/blob/main/song.mid"))
    notes = [one for one in page.all("rect") if one.get("class") == "n1" and "x" in one]
    assert len(notes) == 3 and len({one["y"] for one in notes}) == 3
    assert "96 BPM · 3 beats a bar" in page.text and "Lead <b>" in page.text
    assert page.all("svg")[-2]["aria-label"] == "3 notes in 1 tracks"


def test_two_versions_are_drawn_over_each_other(owner: str) -> None:
    first = pushed(owner, {"song.mid": midi(VERSE)})
    second = pushed(owner, {"song.mid": midi([*VERSE[:2], (69, 960, 480)], tempo=90)}, "up", first)
    page = checked(get(f"/{owner}/song/commit/{second}"))
    kinds = sorted(
        one["class"] for one in page.all("rect") if "y" in one and "rx" in one and "x" in one
    )
    assert kinds == ["n1 fresh", "n1 gone", "n1 kept", "n1 kept"]
    assert "120 → 90 BPM" in page.text


@pytest.mark.parametrize(
    "data",
    [b"", b"MThd", b"MThd\0\0\0\x06\0\x01\0\x01\0\0", midi(VERSE)[:-9], midi([]), b"RIFF" * 99],
)
def test_a_damaged_midi_file_is_offered(owner: str, data: bytes) -> None:
    pushed(owner, {"song.mid": data})
    answer = get(f"/{owner}/song/blob/main/song.mid")
    checked(answer)


def test_a_midi_file_of_any_length_is_drawn_in_part(owner: str) -> None:
    notes = [(40 + number % 50, number * 120, 100) for number in range(30_000)]
    data = midi(notes)
    assert len(data) <= piano_roll.FILE_BYTES
    pushed(owner, {"song.mid": data})
    answer = get(f"/{owner}/song/blob/main/song.mid", accept_encoding="gzip")
    page = checked(answer)
    assert "only the beginning is shown" in page.text and len(answer.body) < 60_000
    assert int(page.all("svg")[-2]["width"]) <= piano_roll.WIDTH + piano_roll.LEFT
