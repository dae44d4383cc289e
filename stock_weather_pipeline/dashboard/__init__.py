"""Charts of the tables and views: what the panels are, and the page made of them. Names only are at home here."""

PAGE_ASSET = ("dashboard", "page")
"""The asset that writes the page after each publish."""

PAGE_OBJECT = "dashboard/page.html"
"""Where that is in the lake."""
