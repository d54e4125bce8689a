"""What the Learn pages teach with: toys that are trained in front of the reader, computed quiz
answers, a glossary and a history. Numpy only; the demo model's numbers come from a stored trace."""
