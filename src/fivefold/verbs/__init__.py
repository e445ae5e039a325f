"""The verbs, from file to file: what the command line and the server do alike."""
