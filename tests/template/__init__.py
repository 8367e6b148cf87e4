"""The promises of template.yaml, tested offline: no Docker, no AWS, no network.

`expansion` turns it into CloudFormation. `recorder` and `stories` record the calls of the
functions. The tests compare both.
"""
