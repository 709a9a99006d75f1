"""Several models behind one address: what every hot request passes through on its way to an engine and back."""
