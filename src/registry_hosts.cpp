/*
 * registry_hosts.cpp
 *		Connects to the hosts of the registry in turn.
 *
 * libpq's connect_timeout, which limits each host, does not apply to a connection
 * that is made without waiting.
 */
#include "prelude.h"

extern "C"
{
#include "libpq-fe.h"
}

#include "registry_hosts.hpp"
#include "settings.hpp"

namespace snowflake
{

/* How many hosts are skipped at first. */
static unsigned skipped = 0;

void
begin_with_next_host()
{
	skipped++;
}

/* The list with its first elements moved to the end. */
static const char *
rotated(const char *list)
{
	unsigned	elements = 1;
	const char *rest = list;

	for (const char *c = list; *c != '\0'; c++)
		elements += *c == ',';
	for (unsigned n = skipped % elements; n > 0; n--)
		rest = strchr(rest, ',') + 1;
	return rest == list ? list : psprintf("%s,%.*s", rest, static_cast<int>(rest - list) - 1, list);
}

/* Options that have one element for each host, or one for all. */
static bool
is_list(const char *keyword)
{
	return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 || strcmp(keyword, "port") == 0;
}

/* What libpq cannot parse is passed on as it is, so that the message is libpq's. */
PGconn *
start_connecting()
{
	PQconninfoOption *options = PQconninfoParse(registry_conninfo, nullptr);
	int			known = 0;

	while (options && options[known].keyword)
		known++;

	const char **keywords = static_cast<const char **>(palloc0((known + 3) * sizeof(char *)));
	const char **values = static_cast<const char **>(palloc0((known + 3) * sizeof(char *)));
	int			n = 0;

	/* The one in "snowflake.registry" wins. */
	keywords[n] = "fallback_application_name";
	values[n++] = "snowflake keeper";
	if (!options)
	{
		keywords[n] = "dbname";
		values[n++] = registry_conninfo;
	}
	for (int i = 0; i < known; i++)
		if (options[i].val)
		{
			keywords[n] = options[i].keyword;
			values[n++] = is_list(options[i].keyword) ? rotated(options[i].val) : options[i].val;
		}

	PGconn	   *connection = PQconnectStartParams(keywords, values, 1);

	PQconninfoFree(options);
	return connection;
}

} // namespace snowflake
