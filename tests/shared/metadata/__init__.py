"""Tests of `shared/metadata`, on the embedded AWS."""
