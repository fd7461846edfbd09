/*
 * time.cpp
 *		Times the generator for C++, as time.py does.
 */
#include <cstdio>
#include <cstdlib>

#include "snowflakes.hpp"

template <typename Call>
static void
time(const char *name, int n, Call call)
{
	const auto	start = std::chrono::steady_clock::now();

	call();

	const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;

	printf("%s\t%f\n", name, taken.count() / n);
}

int
main(int argc, char **argv)
{
	if (argc != 4)
		return 2;

	const int	n = atoi(argv[3]);
	snowflake::Snowflakes ids(argv[1], "bench C++", std::chrono::hours(1));

	for (int round = atoi(argv[2]); round > 0; round--)
	{
		time("C++, next()", n, [&] {
			for (int i = 0; i < n; i++)
				ids.next();
		});
		time("C++, next_many()", n, [&] { ids.next_many(n); });
	}
	return 0;
}
