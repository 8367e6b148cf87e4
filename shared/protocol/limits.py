"""The longest lists of one request of the wire protocol."""

OBJECTS = 1_000
COMMITS = 10_000
SNAPSHOTS = 10_000
FILTER_IDS = 50_000
PRESIGN_IDS = 10_000
HAVES = 100_000
WANTS = 10_000
NEGOTIATE_IDS = 256
MANIFEST_ENTRIES = 50_000
CHANGELOG_ENTRIES = 500
BASES = 64
TAGS = 1_000
PAGE = 1_000
"""The longest page of releases or tags."""

LARGEST_COUNT = 2**32 - 1
"""The largest count in a record: 32 bits, far above any real count."""
