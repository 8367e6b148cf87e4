"""The hub as deployed: the built artefact in a stack that the SAM CLI made in ministack.

Run by `make test-cloud`.
"""
