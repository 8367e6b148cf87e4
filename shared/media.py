"""The media type of a file, by its name or else by its first bytes, independent of the system.

Every text is `text/plain`, because browsers show that type and save most other text types. HTML and
scripts are texts, too: a browser shows them and does not run them. An SVG image has its own type,
so that pages can embed it; it is saved when it is opened.
"""

import re
from urllib.parse import quote

BYTES = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"

SNIFF_BYTES = 512
"""The first bytes of a file that determine its type if its name does not."""

_SHOWN = re.compile(
    r"text/plain|image/(png|jpeg|gif|webp|avif|bmp|vnd\.microsoft\.icon)|(audio|video)/.*|application/json"
)
"""Media types that a browser shows without running code. Files of all other types are saved."""

_TEXTS = (
    "adoc asm asc bash bat bib c cc cfg clj cmake conf cpp cs css csv cxx d dart diff ejs el env"
    " erl ex exs f90 fish go gradle graphql groovy h hbs hpp hrl hs htm html hxx ini ipynb java jl"
    " js jsonl jsx kt kts less lilypond lock log lua ly m3u m3u8 markdown md mdx mjs cjs ml mli"
    " musicxml nfo nim nix patch php pl pm po pot properties proto ps1 py pyi r rb rs rst s sass"
    " scala scss sh sfz sql srt svelte swift tex text tf toml ts tsv tsx txt vb vim vtt vue xhtml"
    " xml xsd xsl yaml yml zig zsh"
)
_TYPES = {
    **dict.fromkeys(_TEXTS.split(), TEXT),
    "json": "application/json",
    # Audio. Browsers play Opus in Ogg under the type of Ogg.
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aifc": "audio/aiff",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mid": "audio/midi",
    "midi": "audio/midi",
    "mka": "audio/x-matroska",
    "mp3": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "wave": "audio/wav",
    "weba": "audio/webm",
    "wma": "audio/x-ms-wma",
    # Video.
    "m4v": "video/mp4",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "ogv": "video/ogg",
    "webm": "video/webm",
    # Images.
    "avif": "image/avif",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "webp": "image/webp",
    # Saved.
    "pdf": "application/pdf",
    "zip": "application/zip",
    **dict.fromkeys("7z bin bz2 dll dylib exe gz rar so svgz tar tgz wasm xz zst".split(), BYTES),
}
"""Media types by the lower-case extension of a name."""

_TEXT_NAMES = frozenset(
    "authors changelog changes codeowners containerfile contributing contributors copying"
    " dockerfile gemfile install jenkinsfile justfile licence license makefile news notice procfile"
    " rakefile readme todo vagrantfile version".split()
)
"""Names of text files without an extension, in lower case."""

_MAGIC = (
    (b"fLaC", 0, "audio/flac"),
    (b"OggS", 0, "audio/ogg"),
    (b"ID3", 0, "audio/mpeg"),
    (b"MThd", 0, "audio/midi"),
    (b"WAVE", 8, "audio/wav"),
    (b"AIFF", 8, "audio/aiff"),
    (b"AIFC", 8, "audio/aiff"),
    (b"caff", 0, "audio/x-caf"),
    (b"ftypM4A", 4, "audio/mp4"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1aE\xdf\xa3", 0, "video/x-matroska"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"%PDF-", 0, "application/pdf"),
)
"""Signatures of files: (bytes, offset, media type). The first match counts."""

_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
"""Control characters that do not occur in texts. Tab, LF, FF, CR and ESC are allowed."""


def type_of(path: str) -> str | None:
    """The media type of a file by its name; None if the name does not determine it."""
    name = path.rpartition("/")[2].lower()
    stem, _, extension = name.rpartition(".")
    if stem:
        return _TYPES.get(extension)
    return TEXT if name in _TEXT_NAMES else None


def sniffed(start: bytes) -> str:
    """The media type of a file by its first `SNIFF_BYTES` bytes, or all of them if there are
    fewer.
    """
    for magic, offset, kind in _MAGIC:
        if start.startswith(magic, offset):
            return kind
    if _NO_TEXT.search(start):
        return BYTES
    # The last character may be incomplete.
    if len(start) == SNIFF_BYTES:
        cut = len(start) - 3
    else:
        cut = len(start)
    for end in range(len(start), cut - 1, -1):
        try:
            start[:end].decode()
        except UnicodeDecodeError:
            continue
        return TEXT
    return BYTES


def disposition(path: str, kind: str) -> str:
    """The Content-Disposition: whether a browser shows or saves the file, and its name."""
    if _SHOWN.fullmatch(kind.partition(";")[0]):
        how = "inline"
    else:
        how = "attachment"
    return f"{how}; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}"
