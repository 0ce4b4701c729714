/* A clock that is wrong: programs that load this see the time of day off by the seconds in SHIFT.
 *
 * Loaded by /etc/ld.so.preload (ld.so(8)).  Linux has no namespace for CLOCK_REALTIME (time_namespaces(7)), so it is
 * shifted where programs ask for it.  Clocks that only measure how time passes are left alone.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SHIFT "/etc/clock_shift"

static time_t shift(void)
{
	static long long seconds;
	static int known;
	FILE *file;

	if (!known) {
		known = 1;
		file = fopen(SHIFT, "r");
		if (file) {
			if (fscanf(file, "%lld", &seconds) != 1)
				seconds = 0;
			fclose(file);
		}
	}
	return (time_t)seconds;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
	int failed = (int)syscall(SYS_clock_gettime, id, now);

	if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		now->tv_sec += shift();
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec at;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &at))
		return -1;
	now->tv_sec = at.tv_sec;
	now->tv_usec = at.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *kept)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	if (kept)
		*kept = at.tv_sec;
	return at.tv_sec;
}
