"""The tools around the service: the app of all endpoints, an AWS in this process, the build, and
the command line.

It may import `functions`, `shared` and any library. Only tests and benches may import it. The
deployed package does not contain it. It decides nothing about requests: that is the work of
`shared`.
"""
