/*
 * unknown_settings.cpp
 *		A setting that is misspelt stops the server.
 *
 * PostgreSQL keeps an unknown setting as a placeholder, and drops those with a
 * reserved prefix with a WARNING.  The default would then apply, and a server that
 * was meant to have another worker ID, layout or epoch would make duplicates.
 */
#include <cstring>

#include "prelude.h"

extern "C"
{
#include "lib/stringinfo.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/varlena.h"
}

#include "unknown_settings.hpp"

namespace snowflake
{

static constexpr char kPrefix[] = "snowflake.";
static constexpr size_t kPrefixSize = sizeof(kPrefix) - 1;

/* How many characters may be wrong in a name that is taken for a misspelt one. */
static constexpr int kMaxDistance = 4;

/* Names of settings are case-insensitive. */
static bool
is_ours(const config_generic *setting)
{
	return pg_strncasecmp(setting->name, kPrefix, kPrefixSize) == 0;
}

static bool
is_unknown(const config_generic *setting)
{
	return is_ours(setting) && (setting->flags & GUC_CUSTOM_PLACEHOLDER) != 0;
}

/* The setting that was meant, or nullptr: one of which half differs is no help. */
static const char *
nearest(const char *unknown, config_generic *const *settings, int count)
{
	char	   *name = pstrdup(unknown + kPrefixSize);
	const int	length = static_cast<int>(strlen(name));
	const int	limit = Min(kMaxDistance, length / 2);
	int			least = limit + 1;
	const char *result = nullptr;

	for (char *c = name; *c; c++)
		*c = static_cast<char>(pg_ascii_tolower(static_cast<unsigned char>(*c)));
	for (int i = 0; i < count; i++)
	{
		if (!is_ours(settings[i]) || is_unknown(settings[i]))
			continue;

		const char *known = settings[i]->name + kPrefixSize;
		const int	distance = varstr_levenshtein_less_equal(name, length, known, static_cast<int>(strlen(known)),
															 1, 1, 1, limit, true);

		if (distance < least)
		{
			least = distance;
			result = settings[i]->name;
		}
	}
	return result;
}

static const char *
list_known(config_generic *const *settings, int count)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		if (is_ours(settings[i]) && !is_unknown(settings[i]))
			appendStringInfo(&list, "%s\"%s\"", list.len > 0 ? ", " : "", settings[i]->name);
	return list.data;
}

[[noreturn]] static void
refuse(const config_generic *unknown, config_generic *const *settings, int count)
{
	const char *meant = nearest(unknown->name, settings, count);

	ereport(FATAL, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("unrecognized configuration parameter \"%s\"", unknown->name),
					unknown->sourcefile
						? errdetail("It is set in file \"%s\", line %d.", unknown->sourcefile, unknown->sourceline)
						: errdetail("It is set by the %s.", GucSource_Names[unknown->source]),
					meant ? errhint("Perhaps you meant \"%s\". Correct it, or remove it, and start the server again.", meant)
						  : errhint("Remove it, and start the server again. Known parameters are %s.", list_known(settings, count))));
}

void
refuse_unknown_settings()
{
	int			count;
	config_generic *const *settings = GUC_VARIABLES(&count);

	for (int i = 0; i < count; i++)
		if (is_unknown(settings[i]))
			refuse(settings[i], settings, count);
}

} // namespace snowflake
