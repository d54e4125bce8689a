"""The screen: session, caches, picks and links, and the components that draw and return clicks."""
