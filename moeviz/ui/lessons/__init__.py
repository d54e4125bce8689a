"""The lessons of the Learn page: one idea, one figure, one question each."""
