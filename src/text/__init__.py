"""What any stage does to text: decode, normalise, language, shingles, MinHash."""
