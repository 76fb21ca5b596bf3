/* COMMAND of the bench: its first instruction says what the monotonic clock shows, in nanoseconds. */
#include <stdio.h>
#include <time.h>

int main(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	printf("stamp %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
	return 0;
}
