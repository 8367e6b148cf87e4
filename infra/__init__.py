"""What surrounds the service: every endpoint in one app, an AWS in this process, and the command that joins them.

It may import `functions`, `shared` and whatever it likes; nothing but tests and benches may import it, and the
deployed functions leave it out. It makes no decision of the hub's: what a request means is settled in `shared`.
"""
