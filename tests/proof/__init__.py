"""The promise, proven the hard way: faults at every call, schedules by seed, hostile requests,
planted bugs.

`memory` is an AWS in this process that obeys what DynamoDB and S3 document, far faster than an
emulator over HTTP; `door` sends requests to the whole app on it. What is proven there is told on
moto as well, a little: `test_memory` holds the two against each other.
"""
