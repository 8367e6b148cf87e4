"""What template.yaml promises, held offline: no Docker, no AWS, no network.

`expansion` turns it into CloudFormation; `recorder` and `stories` tell what the functions do; the
tests compare.
"""
