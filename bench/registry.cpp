/*
 * registry.cpp
 *		Thousands of instances that lease worker IDs from one registry and renew
 *		them, over a few connections: the load of a registry, without the memory of
 *		as many backends.
 *
 * usage: registry CONNINFO INSTANCES CONNECTIONS DURATION STEADY FLAT
 *
 * First each instance takes a lease, as fast as they are answered.  Then each renews
 * when half of its lease is over, for STEADY seconds; then as fast as they are
 * answered, for FLAT seconds.  Both may be 0.  DURATION is the length of a lease in seconds.  Prints
 * lines of series, metric, value.
 *
 * A steady renewal is timed from when it was due, so that waiting for others
 * counts.
 */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <libpq-fe.h>

using Time = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

struct Instance
{
	std::string token;
};

struct Samples
{
	std::vector<double> latencies;	/* ms */
	int			refused = 0;
};

static PGconn *
connect(const char *conninfo)
{
	PGconn	   *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		exit(1);
	}
	PQclear(PQprepare(conn, "lease", "CALL snowflake_registry.lease($1, make_interval(secs => $2))", 0, nullptr));
	PQclear(PQprepare(conn, "renew", "CALL snowflake_registry.renew($1, make_interval(secs => $2))", 0, nullptr));
	return conn;
}

/* One call, timed from "since"; stores what it returns in the instance. */
static void
call(PGconn *conn, const char *function, int n, const char *const *arguments, Time::time_point since, Instance &instance, Samples &samples)
{
	PGresult   *result = PQexecPrepared(conn, function, n, arguments, nullptr, nullptr, 0);

	if (PQntuples(result) == 1)
	{
		instance.token = PQgetvalue(result, 0, PQfnumber(result, "token"));
		samples.latencies.push_back(Milliseconds(Time::now() - since).count());
	}
	else
	{
		if (samples.refused++ == 0)
			fprintf(stderr, "%s: %s", function, PQresultErrorMessage(result));
	}
	PQclear(result);
}

static void
lease(PGconn *conn, const char *duration, size_t i, Instance &instance, Samples &samples)
{
	const std::string holder = "bench " + std::to_string(i);
	const char *arguments[] = {holder.c_str(), duration};

	call(conn, "lease", 2, arguments, Time::now(), instance, samples);
}

static void
renew(PGconn *conn, const char *duration, Time::time_point since, Instance &instance, Samples &samples)
{
	const char *arguments[] = {instance.token.c_str(), duration};

	call(conn, "renew", 2, arguments, since, instance, samples);
}

/* Runs a phase, with a thread for each connection, and prints the results. */
template <typename Phase>
static void
measure(const char *series, std::vector<PGconn *> &conns, Phase phase)
{
	std::vector<Samples> samples(conns.size());
	std::vector<std::thread> threads;
	Time::time_point start = Time::now();

	for (size_t t = 0; t < conns.size(); t++)
		threads.emplace_back([&, t] { phase(t, start, samples[t]); });
	for (std::thread &thread : threads)
		thread.join();

	double		seconds = Milliseconds(Time::now() - start).count() / 1000;
	std::vector<double> all;
	int			refused = 0;

	for (Samples &s : samples)
	{
		all.insert(all.end(), s.latencies.begin(), s.latencies.end());
		refused += s.refused;
	}
	std::sort(all.begin(), all.end());
	printf("%s\trate\t%.0f\n%s\trefused\t%d\n", series, all.size() / seconds, series, refused);
	if (!all.empty())
		printf("%s\tp50_ms\t%.2f\n%s\tp99_ms\t%.2f\n", series, all[all.size() / 2], series, all[(all.size() - 1) * 99 / 100]);
}

int
main(int argc, char **argv)
{
	if (argc != 7)
		return 2;

	std::vector<Instance> instances(atoi(argv[2]));
	std::vector<PGconn *> conns(atoi(argv[3]));
	const char *duration = argv[4];
	size_t		steady_rounds = 2 * atoi(argv[5]) / atoi(duration);
	std::chrono::duration<double> between(atof(duration) / 2);
	std::chrono::seconds flat(atoi(argv[6]));

	for (PGconn *&conn : conns)
		conn = connect(argv[1]);

	/* Each thread has every n-th instance to itself. */
	measure("lease", conns, [&](size_t t, Time::time_point, Samples &samples) {
		for (size_t i = t; i < instances.size(); i += conns.size())
			lease(conns[t], duration, i, instances[i], samples);
	});
	measure("steady", conns, [&](size_t t, Time::time_point start, Samples &samples) {
		for (size_t round = 0; round < steady_rounds; round++)
			for (size_t i = t; i < instances.size(); i += conns.size())
			{
				auto		due = start + std::chrono::duration_cast<Time::duration>(between * (round + double(i) / instances.size()));

				std::this_thread::sleep_until(due);
				renew(conns[t], duration, due, instances[i], samples);
			}
	});
	measure("flat", conns, [&](size_t t, Time::time_point start, Samples &samples) {
		for (size_t i = t; Time::now() < start + flat; i = i + conns.size() < instances.size() ? i + conns.size() : t)
			renew(conns[t], duration, Time::now(), instances[i], samples);
	});

	for (PGconn *conn : conns)
		PQfinish(conn);
	return 0;
}
