"""The behaviour of DynamoDB and S3 that the hub relies on, tested on every emulator at hand,
through the hub's Table and Bucket.

An emulator is not AWS: each emulator has some differences. Then the test has a `hole` with the
reason, and fails as soon as the emulator behaves as AWS. `make test` uses the embedded AWS; `make
test-cloud` uses ministack and, if Node is installed, dynalite.
"""
