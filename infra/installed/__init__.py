"""The package `pieria` of an installation: it contains `functions`, `shared` and `infra`.

In a checkout this folder is not used. pyproject.toml maps it to `pieria` in the wheel.
"""
