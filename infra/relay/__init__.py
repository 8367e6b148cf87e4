"""The relay: a small HTTP server on the user's machine between the stock client and one hub.

The stock client sends each body in one request, reads each reply in one piece, sends no token with
a clone and never retries. A hub on Lambda takes and sends 4.69 MB at once. The relay splits,
stages, compresses and retries, and it adds a token.

    address    the URL of the hub, the token that is sent to it, and where the token comes from
    spool      bytes in memory or in an unlinked temporary file; a body, compressed as it arrives
    hub        one request to the hub: retries, Retry-After, the token, the expanded reply
    uploads    POST push and push/objects: in slices, compressed, staged if they are large
    history    a push that is too large for one request, in stretches of history
    bundles    the bodies of a fetch reply: read record by record, and written the same way
    steps      a fetch in several requests: fetch/history, fetch/objects, and single objects
    downloads  POST fetch: one reply for the stock client, from one reply of the hub or from several
    gateway    the HTTP server: which requests it accepts, and which module handles each
    peers      the user that opened a connection
    progress   sizes and remaining times on stderr
    serve      listens on the loopback address until Ctrl-C
    clone      a working copy of any size: it fetches the parts of a plan
    plan       the records of all commits, and the objects of the branch, of a clone
    client     the commands of the stock client
    workplace  the folders of a clone that is not complete

It may import the pure modules of `shared` that it needs, and nothing else of the project.
"""
