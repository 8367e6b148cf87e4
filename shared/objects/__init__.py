"""S3: packs, loose objects and the quarantine of presigned uploads.

May import the pure modules, `errors` and botocore; what AWS calls an error becomes one of ours in
`bucket`. May not import `metadata`, `actions` or HTTP: where an object lies is told to it.
"""
