"""A session of the stock client as it was recorded: `session.msgpack`, a stream of msgpack maps.

Each map is one exchange: method, path, query, headers, body, status, response. The requests were
made by the unmodified `muse` client (its token blanked); the responses are those of a correct hub.
"""
