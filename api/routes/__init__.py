"""One file per resource: what is asked, by whom, at what pace, and what is answered."""
