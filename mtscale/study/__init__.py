"""A study: many runs, and the tables and the graph made of them."""
