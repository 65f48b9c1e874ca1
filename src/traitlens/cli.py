"""The command line: arguments in, pipeline called, messages out."""
