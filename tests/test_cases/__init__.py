"""The protocol, case by case: a request as API Gateway hands it to a Lambda function, and the
answer it must get.

Every test carries its case: R refs, O objects, F filter, P presign, U push, N pointer, I integrity,
A auth, G fetch, T negotiate, X limits, D routes. May import `shared` and the builders; enters by
the handlers only, apart from the rows that no endpoint writes (private, deleted, domain).
"""
