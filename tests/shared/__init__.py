"""Tests of `shared/`, one file for each it has."""
