"""The core of the hub: everything between an HTTP request and a stored byte.

    errors texts                              the tree of errors; messages of bounded length
    conditional media                         entity tags; media types of files                  (pure)
    ids names model codec                     ids, rules for names, data types, JSON and msgpack (pure)
    packs                                     the format of packs                                (pure)
    protocol/                                 the requests and replies of the wire and the API
    pushed_bundle                             the verification of a push
    codings                                   bodies and replies in gzip and zstd                (pure)
    progress                                  progress reports of long jobs                      (pure)
    prices units                              the units and prices of AWS                        (pure)
    settings keyring auth ratelimit tasks     configuration, tokens, rate limits, parallel calls
    meter budget                              the cost of a request, and cost limits
    metadata/                                 rows: the only folder with keys and conditions
    objects/                                  bytes: the only folder with keys of objects
    engines/                                  storage: DynamoDB and S3, or SQLite and files
    stores                                    the stores of the hub, and those of one repository
    aws_clients                               selects the engine; opens the stores per event loop
    actions/                                  the decisions of requests and of maintenance jobs
    content                                   one object as a reply: entity tag, range, caching
    edge routing http                         requests and replies: the only HTTP outside functions/
    lambdas                                   the apps as Lambda functions
    openapi                                   the OpenAPI document

Imports point inward: functions → http, actions → metadata, objects → the pure modules → errors.
`shared` never imports `functions` or `infra`. A test checks this.
"""
