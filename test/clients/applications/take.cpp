/*
 * take.cpp
 *		Takes IDs until SIGTERM, as take.py does.
 */
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snowflakes.hpp"

using snowflake::Snowflakes;

static std::atomic<bool> going{true};
static std::atomic<bool> fork_wanted{false};
static std::atomic<int> refused{0};

static void
take(Snowflakes &ids, const std::string &name, snowflake::Milliseconds pause)
{
	const int	file = open(name.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600);

	for (int turn = 0; going; turn++)
	{
		std::string lines;

		try
		{
			if (turn % 2)
				for (const int64_t id : ids.next_many(20))
					lines += std::to_string(id) + "\n";
			else
				for (int i = 0; i < 20; i++)
					lines += std::to_string(ids.next()) + "\n";
		}
		catch (const snowflake::NoLease &)
		{
			refused++;
		}
		if (write(file, lines.data(), lines.size()) != static_cast<ssize_t>(lines.size()))
			abort();
		std::this_thread::sleep_for(pause);
	}
	close(file);
}

static std::vector<std::thread>
start(Snowflakes &ids, const std::string &name, int threads, snowflake::Milliseconds pause)
{
	std::vector<std::thread> workers;

	for (int i = 0; i < threads; i++)
		workers.emplace_back(take, std::ref(ids), name + "." + std::to_string(i), pause);
	return workers;
}

int
main(int argc, char **argv)
{
	if (argc != 6)
		return 2;

	const std::string name = argv[1];
	const int	threads = atoi(argv[4]);
	const snowflake::Milliseconds pause(atoi(argv[5]));
	std::unique_ptr<Snowflakes> ids;
	pid_t		parent = getppid();
	pid_t		child = 0;
	bool		own = true;

	signal(SIGTERM, [](int) { going = false; });
	signal(SIGUSR1, [](int) { fork_wanted = true; });
	while (going && !ids)
	{
		try
		{
			ids = std::make_unique<Snowflakes>("", argv[2], std::chrono::seconds(atoi(argv[3])));
		}
		catch (const snowflake::NoLease &)
		{
			refused++;
			std::this_thread::sleep_for(snowflake::Milliseconds(200));
		}
	}
	if (!ids)
		return 0;

	/* Left behind by a child: its threads are not there. */
	auto	   *workers = new std::vector<std::thread>(start(*ids, name, threads, pause));

	while (going && getppid() == parent)
	{
		if (fork_wanted)
		{
			fork_wanted = false;
			child = fork();
			if (child == 0)
			{
				own = false;
				parent = getppid();
				workers = new std::vector<std::thread>(start(*ids, name + ".child", threads, pause));
			}
		}
		std::this_thread::sleep_for(snowflake::Milliseconds(20));
	}
	going = false;
	for (std::thread &worker : *workers)
		worker.join();
	ids->close();
	if (child > 0)
	{
		kill(child, SIGTERM);
		for (int i = 0; waitpid(child, nullptr, WNOHANG) == 0; i++)
		{
			std::this_thread::sleep_for(snowflake::Milliseconds(50));
			if (i == 200)
			{
				kill(child, SIGKILL);
				fprintf(stderr, "the child does not end\n");
			}
		}
	}
	if (own)
		printf("refused %d\n", refused.load());
	return 0;
}
