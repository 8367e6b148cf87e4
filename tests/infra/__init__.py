"""Tests of `infra/`, one file for each it has."""
