/*
 * plain_text.hpp
 *		Messages of others, made fit to be shown in any database.
 */
#pragma once

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

} // namespace snowflake
