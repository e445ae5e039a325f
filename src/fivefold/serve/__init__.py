"""Models behind HTTP: the verbs of the command line as requests, and a page that shows them."""
