"""Tests of `shared/actions` that need no handler."""
