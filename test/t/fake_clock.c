/*
 * fake_clock.c
 *		Preloaded into a server, lets a test move its clock: FakeClock.pm.
 *
 * The file named by FAKE_CLOCK holds two integers of 64 bits, in nanoseconds:
 * what is added to the system clock, and, unless 0, what the clock shows
 * instead, standing still.  The file is mapped, so a step takes effect in every
 * process at once.  The monotonic clock is left alone, as when a real clock is set.
 *
 * libfaketime does not work here: it gives the true time to signal handlers that
 * interrupt a select() or an epoll_wait(), and to processes that are forked in one, as
 * the postmaster does up to PostgreSQL 15.  Then a server has two clocks at once.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

struct setting
{
	int64_t		offset;
	int64_t		frozen;
};

static const volatile struct setting unset;
static const volatile struct setting *setting = &unset;

__attribute__((constructor)) static void
map_setting(void)
{
	const char *name = getenv("FAKE_CLOCK");
	int			fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void	   *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(struct setting), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		setting = map;
}

int
clock_gettime(clockid_t clock, struct timespec *result)
{
	int			status = (int) syscall(SYS_clock_gettime, clock, result);
	int64_t		ns;

	if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
	{
		ns = setting->frozen;
		if (ns == 0)
			ns = result->tv_sec * NS_PER_S + result->tv_nsec + setting->offset;
		result->tv_sec = ns / NS_PER_S;
		result->tv_nsec = ns % NS_PER_S;
	}
	return status;
}

int
gettimeofday(struct timeval *restrict result, void *restrict zone)
{
	struct timespec now;

	(void) zone;
	clock_gettime(CLOCK_REALTIME, &now);
	result->tv_sec = now.tv_sec;
	result->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}
