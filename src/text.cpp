/*
 * text.cpp
 *		IDs as text.  Works without the preload; with it, an ID must have no more
 *		bits than the layout.
 */
#include <algorithm>

#include "core/text.hpp"

#include "prelude.h"

extern "C"
{
#include "mb/pg_wchar.h"
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

struct Characters
{
	int			count;
	int			first_bad;		/* the first that is no digit, from 1; 0 if all are */
};

/* The encoding knows bytes; the reader of a message counts characters. */
static Characters
count_characters(const TextEncoding &encoding, std::string_view value)
{
	Characters	characters = {};

	while (!value.empty())
	{
		const auto	byte = static_cast<unsigned char>(value.front());
		const auto	length = static_cast<size_t>(pg_encoding_mblen(GetDatabaseEncoding(), value.data()));

		characters.count++;
		if (characters.first_bad == 0 && (length > 1 || encoding.values[byte] < 0))
			characters.first_bad = characters.count;
		value.remove_prefix(std::min(length, value.size()));
	}
	return characters;
}

/* The settings limit our own IDs, not those of other systems. */
static int64_t
max_id_of(const TextEncoding &encoding)
{
	return &encoding == &kTid ? PG_INT64_MAX : layout.max_id();
}

static bool
is_tid(const TextEncoding &encoding, std::string_view value)
{
	return &encoding == &kBase32 && is_tid_for_sure(value);
}

[[noreturn]] static void
raise_malformed(const TextEncoding &encoding, std::string_view value)
{
	char		greatest[kMaxTextLength];
	const Characters characters = count_characters(encoding, value);
	const bool	tid = is_tid(encoding, value);

	encoding.write(max_id_of(encoding), greatest);
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("invalid snowflake ID in %s: \"%.*s\"",
						   encoding.name.data(), static_cast<int>(value.size()), value.data()),
					tid ? errdetail("It is a TID, as Bluesky has them.") :
					characters.count != encoding.length ? errdetail("It must have exactly %d characters, and has %d.", encoding.length, characters.count) :
					characters.first_bad > 0 ? errdetail("Character %d is not one of \"%s\".", characters.first_bad, encoding.digits.data()) :
											   errdetail("The greatest ID is \"%.*s\".", encoding.length, greatest),
					tid ? errhint("Give the encoding \"tid\" as the second argument.") : 0));
}

Datum
snowflake_to_text(PG_FUNCTION_ARGS)
{
	const int64_t id = PG_GETARG_INT64(0);
	const TextEncoding &encoding = encoding_argument(PG_GETARG_TEXT_PP(1));
	char		value[kMaxTextLength];

	if (id < 0 || id > max_id_of(encoding))
		raise_not_an_id(id);
	encoding.write(id, value);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(value, encoding.length));
}

Datum
snowflake_from_text(PG_FUNCTION_ARGS)
{
	const std::string_view value = view_of(PG_GETARG_TEXT_PP(0));
	const TextEncoding &encoding = encoding_argument(PG_GETARG_TEXT_PP(1));
	const ParsedText parsed = encoding.read(value);

	if (parsed.fault != TextFault::kNone || parsed.id > max_id_of(encoding) || is_tid(encoding, value))
		raise_malformed(encoding, value);
	PG_RETURN_INT64(parsed.id);
}
