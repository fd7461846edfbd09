/*
 * attempt.hpp
 *		The number of a renewal, by which the registry recognises its repetition.
 *
 * A renewal whose answer is lost is repeated with the same token and the same number.
 * It is random, so that a copy of this server that has the token makes up another one.
 */
#pragma once

#include <cstring>

#include "prelude.h"
#include "core/lease.hpp"

namespace snowflake
{

class Attempt
{
public:
	/* A UUID: the same as before, unless the token is another one. */
	const char *
	number_for(const char *token)
	{
		if (!is_open(token))
		{
			unsigned char bytes[16];

			if (!pg_strong_random(bytes, sizeof(bytes)))
				elog(ERROR, "could not generate random values");
			for (size_t i = 0; i < sizeof(bytes); i++)
				snprintf(number_ + 2 * i, 3, "%02x", bytes[i]);
			strlcpy(token_, token, sizeof(token_));
		}
		return number_;
	}

	/* Has a renewal with this token been asked for? */
	bool
	is_open(const char *token) const
	{
		return strcmp(token_, token) == 0;
	}

private:
	char		token_[kUuidSize] = "";
	char		number_[kUuidSize] = "";
};

} // namespace snowflake
