"""Tests of `functions/`, one file for each it has."""
