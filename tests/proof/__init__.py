"""Proofs of the promises: faults at every call, schedules by seed, hostile requests, planted bugs.

`memory` is an AWS in this process that follows the documents of DynamoDB and S3, and is much faster
than an emulator over HTTP. `door` sends requests to the whole app on it. A part of these stories is
also played on moto: `test_memory` compares the two.
"""
