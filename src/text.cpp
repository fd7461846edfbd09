/*
 * text.cpp
 *		IDs as text; depends on no setting, and works without the preload.
 */
#include "core/text.hpp"

#include "compat.h"

extern "C"
{
#include "utils/builtins.h"
}

#include "arguments.hpp"

extern "C"
{
SQL_FUNCTION(snowflake_to_text);
SQL_FUNCTION(snowflake_from_text);
}

using namespace snowflake;

static const TextEncoding &
encoding_argument(text *argument)
{
	const std::string_view name = view_of(argument);
	const TextEncoding *encoding = find_text_encoding(name);

	if (!encoding)
		raise_unknown("ID encoding", name, kTextEncodings);
	return *encoding;
}

[[noreturn]] static void
raise_malformed(const TextEncoding &encoding, std::string_view value, const ParsedText &parsed)
{
	char		greatest[kMaxTextLength];
	const auto	bytes = [](std::string_view view) noexcept { return static_cast<int>(view.size()); };

	encoding.write(PG_INT64_MAX, greatest);
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("invalid snowflake ID in %s: \"%.*s\"",
						   encoding.name.data(), bytes(value), value.data()),
					parsed.fault == TextFault::kLength ? errdetail("It must have exactly %d characters.", encoding.length) :
					parsed.fault == TextFault::kCharacter ? errdetail("Character %d is not one of \"%s\".", parsed.position + 1, encoding.digits.data()) :
															errdetail("The greatest ID is \"%.*s\".", encoding.length, greatest)));
	pg_unreachable();
}

Datum
snowflake_to_text(PG_FUNCTION_ARGS)
{
	const int64_t id = checked_id(PG_GETARG_INT64(0));
	const TextEncoding &encoding = encoding_argument(PG_GETARG_TEXT_PP(1));
	char		value[kMaxTextLength];

	encoding.write(id, value);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(value, encoding.length));
}

Datum
snowflake_from_text(PG_FUNCTION_ARGS)
{
	const std::string_view value = view_of(PG_GETARG_TEXT_PP(0));
	const TextEncoding &encoding = encoding_argument(PG_GETARG_TEXT_PP(1));
	const ParsedText parsed = encoding.read(value);

	if (parsed.fault != TextFault::kNone)
		raise_malformed(encoding, value, parsed);
	PG_RETURN_INT64(parsed.id);
}
