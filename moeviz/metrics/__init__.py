"""Numbers from traces: small frozen results, each with its formula and its chance level."""
