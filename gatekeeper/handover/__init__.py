"""The end of the way: the program becomes the command, or leaves."""
