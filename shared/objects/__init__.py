"""Bytes in S3 or in a folder.

`keys` has every key, `bucket` is the contract of an engine, `store` has packs, loose objects and
prebuilt clones, `quarantine` has the uploads of clients. This package may not import `metadata`,
`actions` or HTTP: callers pass the locations of objects.
"""
