"""The arithmetic of routing: who fits within an expert's capacity. numpy only."""
