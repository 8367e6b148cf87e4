"""S3: packs, loose objects and the quarantine of presigned uploads.

It may import the pure modules, `errors` and botocore. `bucket` translates errors of AWS. It may not
import `metadata`, `actions` or HTTP: callers pass the locations of objects.
"""
