"""Models on a vLLM or SGLang server: a text goes there, and its routing comes back."""
