/*
 * tail.hpp
 *		Who writes and who reads while the horizon is put to the test.
 */
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "session.hpp"

/* A turn of a writer: a transaction, or some. */
struct Writer
{
	const char *name;
	std::string settings;
	void		(*turn)(Session &, Dice &);

	/*
	 * Only these write in every other second: with all of them somebody always
	 * holds the horizon back, which hides what is wrong with its upper end.
	 */
	bool		in_quiet = false;
};

enum class Where
{
	kPrimary,
	kStandby,
	kSubscriber,
};

struct Reader
{
	const char *name;
	Where		where;
	std::string settings;

	/* Reads rows from the position on, and moves it. */
	Ids			(*turn)(Session &, Dice &, int64_t *position);

	/* It has to miss rows, or the test proves nothing. */
	bool		loses;
};

extern const std::vector<Writer> writers;
extern const std::vector<Reader> readers;
