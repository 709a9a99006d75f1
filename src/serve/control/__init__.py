"""What those who run the server look at and turn: health, metrics, lineage, administration. None of it is on the way of a hot request."""
