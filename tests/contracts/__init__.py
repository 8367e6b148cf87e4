"""What the hub relies on in DynamoDB and S3, asked of every emulator at hand, through our own Table
and Bucket.

An emulator is not AWS: each answers some of these wrongly. Where it does, the test carries a `hole`
with the reason, and fails on the day the emulator gets it right. `make test` asks the embedded AWS;
`make test-cloud` asks ministack and, where Node is there, dynalite.
"""
