"""MIDI files as piano rolls: SVG without scripts and styles, whose colours are classes.

A second version is drawn over the first: notes that only one of them has are marked.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import mido
from markupsafe import Markup

from shared.web.visible import visible

FILE_BYTES = 500_000
MESSAGES = 60_000
NOTES = 4_000
"""The most notes that are drawn."""
TRACKS = 6
"""Tracks with a colour of their own; later ones begin again with the first colour."""
BEAT = 24
"""The least pixels of a beat, except in a file that would be wider than `WIDTH`."""
MOST_BEAT = 64
USUAL_WIDTH = 1_060
"""A short file is made as wide as a page."""
WIDTH = 6_000
ROW = 6
LEFT = 34
TOP = 16
_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """A note: its start and length in beats, its pitch (60 is C4), and the index of its track."""

    start: float
    pitch: int
    length: float
    track: int


@dataclass(frozen=True, slots=True)
class Song:
    """The contents of a roll. `beats_of_bar` is that of the first time signature."""

    notes: list[Note]
    tracks: list[str]
    tempo: float
    beats_of_bar: float
    is_cut: bool


def parsed(data: bytes) -> Song | None:
    """The notes of a MIDI file; None if it is damaged, too large, or has no notes."""
    if len(data) > FILE_BYTES:
        return None
    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
        return _song(file)
    except Exception:  # mido raises many kinds for damaged files
        return None


def _song(file: mido.MidiFile) -> Song | None:
    per_beat = file.ticks_per_beat or 480
    notes: list[Note] = []
    tracks: list[str] = []
    tempo = 120.0
    beats_of_bar = 4.0
    left = MESSAGES
    for track in file.tracks:
        messages = track[:left]
        for message in messages:
            if message.type == "set_tempo" and message.tempo:
                tempo = mido.tempo2bpm(message.tempo)
            elif message.type == "time_signature":
                beats_of_bar = 4 * message.numerator / message.denominator
        found = list(_notes(messages, per_beat, len(tracks)))
        if found:
            notes += found
            tracks.append(visible(track.name.strip())[:60] or f"Track {len(tracks) + 1}")
        left -= len(track)
        if left <= 0:
            break
    if not notes:
        return None
    notes.sort()
    is_cut = len(notes) > NOTES or left <= 0
    return Song(notes[:NOTES], tracks, tempo, max(beats_of_bar, 0.5), is_cut)


def _notes(messages: Iterable[Any], per_beat: int, track: int) -> Iterator[Note]:
    """The notes of a track. A note ends with its next message, of the same channel and pitch."""
    held: dict[tuple[int, int], int] = {}
    ticks = 0
    for message in messages:
        ticks += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        key = (message.channel, message.note)
        if key in held:
            start = held.pop(key)
            length = max(ticks - start, 1) / per_beat
            yield Note(start / per_beat, message.note, length, track)
        if message.type == "note_on" and message.velocity:
            held[key] = ticks


@dataclass(frozen=True, slots=True)
class _Grid:
    """The area of a piano roll: pitches from `low` to `high`, and `beats` of `scale` pixels."""

    low: int
    high: int
    beats: float
    scale: float

    @property
    def width(self) -> float:
        return LEFT + self.beats * self.scale + 8

    @property
    def height(self) -> int:
        return TOP + (self.high - self.low + 1) * ROW + 4

    def top(self, pitch: int) -> int:
        return TOP + (self.high - pitch) * ROW

    def rows(self) -> Iterator[str]:
        """The rows of the black keys, and the names of the octaves."""
        for pitch in range(self.low, self.high + 1):
            top = self.top(pitch)
            if "♯" in _NAMES[pitch % 12]:
                size = f'width="{self.width - LEFT:.0f}" height="{ROW}"'
                yield f'<rect class="black" x="{LEFT}" y="{top}" {size}/>'
            if pitch % 12 == 0:
                place = f'x="{LEFT - 4}" y="{top + ROW}" text-anchor="end"'
                yield f"<text {place}>C{pitch // 12 - 1}</text>"

    def bars(self, beats_of_bar: float) -> Iterator[str]:
        """The lines between bars, with their numbers. Lines are at least 28 pixels apart."""
        bars = int(self.beats / beats_of_bar) + 1
        step = max(1, round(28 / (beats_of_bar * self.scale) + 0.499))
        for number in range(0, bars, step):
            left = LEFT + number * beats_of_bar * self.scale
            yield f'<path class="bar" d="M{left:.1f} {TOP}V{self.height}"/>'
            yield f'<text x="{left + 2:.1f}" y="11">{number + 1}</text>'

    def rectangle(self, note: Note, mark: str) -> str:
        """A note, with the class of its track and `mark`."""
        left = LEFT + note.start * self.scale
        width = max(note.length * self.scale - 0.8, 1)
        kind = f"n{note.track % TRACKS + 1}{mark}"
        place = f'x="{left:.1f}" y="{self.top(note.pitch)}"'
        return f'<rect class="{kind}" {place} width="{width:.1f}" height="{ROW - 1}" rx="1"/>'


def roll(song: Song, before: Song | None = None) -> Markup:
    """A song as a piano roll, drawn over an earlier version if there is one."""
    if before:
        drawn = list(_differing(song, before))
    else:
        drawn = [(note, "") for note in song.notes]
    pitches = [note.pitch for note, _ in drawn]
    low = max(min(pitches) - 2, 0)
    high = min(max(pitches) + 2, 127)
    beats = max(note.start + note.length for note, _ in drawn)
    fitting = (USUAL_WIDTH - LEFT) / beats
    scale = min(max(BEAT, fitting), MOST_BEAT, (WIDTH - LEFT) / beats)
    grid = _Grid(low, high, beats, scale)
    parts = [*grid.rows(), *grid.bars(song.beats_of_bar)]
    parts += (grid.rectangle(note, mark) for note, mark in drawn)
    width = f"{grid.width:.0f}"
    height = grid.height
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    text = f"{len(song.notes)} notes in {len(song.tracks)} tracks"
    svg = f'<svg class="roll" role="img" aria-label="{text}" {size}>{"".join(parts)}</svg>'
    return Markup(svg)  # noqa: S704 (numbers, and names of notes)


def _differing(song: Song, before: Song) -> Iterator[tuple[Note, str]]:
    """The notes of both versions, those of the earlier one first; each with a class."""
    old = {(note.start, note.pitch, note.length): note for note in before.notes}
    new = {(note.start, note.pitch, note.length): note for note in song.notes}
    yield from ((note, " gone") for key, note in old.items() if key not in new)
    for key, note in new.items():
        yield note, " kept" if key in old else " fresh"


def legend(song: Song, before: Song | None = None) -> Markup:
    """The tempo, the bars and the tracks of a song; for two versions, the meaning of the marks."""
    facts = [f"{song.tempo:.0f} BPM", f"{song.beats_of_bar:g} beats a bar"]
    if before and round(before.tempo) != round(song.tempo):
        facts[0] = f"{before.tempo:.0f} → {facts[0]}"
    if song.is_cut:
        facts.append("only the beginning is shown")
    items = _items(["added", "removed", "unchanged"], ["fresh", "gone", "kept"])
    if before is None:
        kinds = [f"n{number % TRACKS + 1}" for number in range(len(song.tracks))]
        items = _items(song.tracks[: 2 * TRACKS], kinds)
    text = f'<ul class="legend"><li>{escape(" · ".join(facts))}</li>{"".join(items)}</ul>'
    return Markup(text)  # noqa: S704 (escaped above)


def _items(names: Iterable[str], kinds: Iterable[str]) -> list[str]:
    size = 'width="10" height="10"'
    box = f'<svg {size} aria-hidden="true"><rect class="{{}}" {size} rx="2"/></svg>'
    return [
        f"<li>{box.format(kind)} {escape(name)}</li>"
        for name, kind in zip(names, kinds, strict=False)
    ]
