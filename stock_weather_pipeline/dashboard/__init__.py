"""Charts of the tables and views: what the panels are, and the page made of them."""
