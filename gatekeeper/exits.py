"""The exit table: what each status means stands in the README, the same for every command."""

EX_OK, EX_NOT_READY, EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_TIMEOUT, EX_SIGNAL = 0, 1, 2, 69, 70, 124, 128
