"""Routing and texts that ship with MoEViz."""
