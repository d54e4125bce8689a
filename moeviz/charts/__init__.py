"""Pictures of results, as plain values that a screen can draw; one palette for all of them."""
