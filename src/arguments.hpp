/*
 * arguments.hpp
 *		Checks of arguments that SQL functions share.
 */
#pragma once

#include <string_view>

#include "prelude.h"

extern "C"
{
#include "lib/stringinfo.h"
}

#include "setting_checks.hpp"
#include "settings.hpp"

namespace snowflake
{

[[noreturn, gnu::cold]] inline void
raise_not_an_id(int64_t id)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("%lld is not a snowflake ID", (long long) id),
					id < 0 ? errdetail("Snowflake IDs are not negative.")
						   : errdetail("With \"%s\" = %d, the greatest ID is %lld.", kIdBits, layout.id_bits,
									   (long long) layout.max_id())));
}

inline int64_t
checked_id(int64_t id)
{
	if (!layout.has(id)) [[unlikely]]
		raise_not_an_id(id);
	return id;
}

/* The bytes of a text argument, which live as long as it does. */
inline std::string_view
view_of(text *argument)
{
	return {VARDATA_ANY(argument), static_cast<size_t>(VARSIZE_ANY_EXHDR(argument))};
}

/* what: as in "unknown … "; known: objects that have a name. */
template <typename Table>
[[noreturn, gnu::cold]] void
raise_unknown(const char *what, std::string_view name, const Table &known)
{
	StringInfoData names;

	initStringInfo(&names);
	for (const auto &entry : known)
	{
		const std::string_view entry_name = entry.name;

		appendStringInfo(&names, "%s\"%.*s\"", names.len > 0 ? ", " : "",
						 static_cast<int>(entry_name.size()), entry_name.data());
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown %s: \"%.*s\"", what, static_cast<int>(name.size()), name.data()),
					errdetail("Known names are %s.", names.data)));
}

} // namespace snowflake
