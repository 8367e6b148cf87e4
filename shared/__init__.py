"""The core of the hub: everything between an HTTP request and a stored byte.

    http/         the app of a function: access, request bodies, replies, error handlers
    protocol/     the requests and replies of the wire protocol and of the API
    web/          the pages of the hub for browsers
    actions/      one module for each request: its rules, and the order of its writes
    maintenance/  the operator's jobs: gc, fsck, rebuild, repack, purge, expunge, prebuilt clones
    graph/        walks over the commit graph, and their driver
    metadata/     rows: the only folder with keys and conditions of rows
    objects/      bytes: `keys` has every key of the bucket
    engines/      storage: DynamoDB and S3, or SQLite and files

    middleware routing connection bodies      the ASGI app around every function
    lambdas                                   the app as a Lambda function
    streaming decoding codings staging        large bodies: replies in pieces, compression, S3
    file_response media conditional           an object as a file: media type, range, entity tag
    authorization auth references             rights, tokens, signed references
    signing keyring                           signatures, and the cache of the keys
    ratelimit budget quotas meter             limits of requests, of cost and of storage
    prices units                              the prices of AWS, and its units
    stores                                    the stores of the hub, and of one repository
    settings log                              the environment; log lines
    pushed_bundle packs patches               verification of a push; formats of packs, of patches
    codec cursors log_cursors                 JSON and msgpack; positions in lists
    model ids names portable                  data types, ids, rules for names
    errors refusals texts                     the tree of errors, and the texts of refusals
    tasks progress                            parallel calls, progress reports

Imports point inward: functions → http → actions → metadata, objects → model → errors. `shared`
never imports `functions` or `infra`. tests/test_house.py has the law of each module.
"""
