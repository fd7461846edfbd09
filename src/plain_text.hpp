/*
 * plain_text.hpp
 *		Makes messages from elsewhere fit to be shown in any database, and compares
 *		them.
 */
#pragma once

#include <cstring>

#include "prelude.h"

namespace snowflake
{

/*
 * One line of ASCII.  The message may be in another encoding than that of the
 * database in which it will be read, or be cut within a character.
 */
inline void
make_plain(char *message)
{
	for (char *c = message; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
		else if (IS_HIGHBIT_SET(*c))
			*c = '?';
}

/* Two failures of one reason: only times, ports and other numbers differ. */
inline bool
differ_in_numbers_only(const char *a, const char *b)
{
	constexpr char kNumbers[] = "0123456789.:+- ";

	for (;;)
	{
		a += strspn(a, kNumbers);
		b += strspn(b, kNumbers);
		if (*a != *b || *a == '\0')
			return *a == *b;
		a++;
		b++;
	}
}

} // namespace snowflake
