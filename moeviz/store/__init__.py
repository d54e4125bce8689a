"""Traces to and from files."""
