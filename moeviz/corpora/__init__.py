"""Labelled texts, bundled and the user's own, and the routing counts that models gave them."""
