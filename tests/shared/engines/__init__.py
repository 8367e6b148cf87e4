"""Tests of `shared/engines`."""
