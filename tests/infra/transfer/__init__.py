"""Tests of `infra/transfer`: real hubs, real Git repositories."""
