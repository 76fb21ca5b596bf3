"""Dependencies that nobody declared, from variables that a program is given anyway: their names and their values.

What is inferred is a declaration like any other, and of lowest precedence. What could mean two things is a problem,
never a guess; what is left out is told with a reason. No value is ever told, because it may hold a password.
"""
