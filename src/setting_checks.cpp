/*
 * setting_checks.cpp
 *		Looks a setting up before it is defined, and refuses to start with
 *		anything else.
 */
#include <cstring>

#include "prelude.h"

extern "C"
{
#include "utils/guc.h"
}

#include "setting_checks.hpp"

namespace snowflake
{

void
refuse(const char *name, const char *found, const char *allowed)
{
	ereport(FATAL, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for parameter \"%s\": \"%s\"", name, found),
					errdetail("Allowed: %s.", allowed),
					errhint("Correct \"%s\" and start the server again.", name)));
}

const char *
find_setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value ? pstrdup(value) : nullptr;
}

void
check_int(const char *name, const char *found, int value, int flags, const char *allowed)
{
	int			parsed;

	if (found && !(parse_int(found, &parsed, flags, nullptr) && parsed == value))
		refuse(name, found, allowed);
}

void
check_text(const char *name, const char *found, const char *value, const char *allowed)
{
	if (found && strcmp(found, value) != 0)
		refuse(name, found, allowed);
}

} // namespace snowflake
