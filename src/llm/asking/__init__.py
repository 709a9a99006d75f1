"""Ask a model the same about many texts: patiently, within limits and a budget, and never twice for the same answer."""
