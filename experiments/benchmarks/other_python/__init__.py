"""What a benchmark starts with another Python, by its path: the libraries that it compares with need not be here."""
