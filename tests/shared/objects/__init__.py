"""Tests of `shared/objects`, on the embedded AWS."""
