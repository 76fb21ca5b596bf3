"""What an OCI runtime calls while it makes a container (runtime-spec, config.md, POSIX-platform hooks).

The state on stdin says for whom, the bundle what the container will see, its annotations what it waits for.
"""
