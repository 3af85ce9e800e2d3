"""The command line as data: one table of verbs and options, from which parsing, help and completion follow."""
