"""The core of the hub: everything between an HTTP request and a stored byte.

    errors texts                              every failure, drawn as a tree; messages of bounded length
    conditional media                         entity tags; what a file is                                (pure)
    ids names model wire codec                what things are called and how they are shaped     (pure)
    bundle dag packs                          what is checked, walked and packed                 (pure)
    codings                                   bodies and replies in gzip and zstd                (pure)
    progress                                  how a long job reports how far it is                 (pure)
    prices units                              what AWS counts, and what it charges               (pure)
    settings keyring auth ratelimit tasks     who asks, how often, with what configuration
    meter budget                              what the running request costs, and who may cost how much
    metadata/                                 DynamoDB: the only folder that knows keys and conditions
    objects/                                  S3: the only folder that knows buckets
    stores                                    opens both, once per event loop: the composition root
    actions/                                  what the service decides: push, fetch, negotiate, uploads
    content                                   one object as a reply: entity tag, range, caching
    edge routing http                         requests and replies: the only HTTP outside functions/
    lambdas                                   the apps as Lambda functions
    api views manual                          the shapes of the API for people and tools; its OpenAPI document

Arrows point inward: functions → http, actions → metadata, objects → the pure modules → errors. `shared`
never imports `functions` or `infra`; a test holds this law.
"""
