"""Tests of shared/protocol."""
