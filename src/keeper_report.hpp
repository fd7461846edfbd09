/*
 * keeper_report.hpp
 *		What the keeper is about to do and why it last failed, in shared memory,
 *		for callers to report.
 */
#pragma once

namespace snowflake
{

/* The words that follow "The background worker … is ". */
void		set_attempt(const char *attempt);

void		record_failure(const char *message, const char *hint);
void		record_success();

/* How often the keeper has failed since it last succeeded. */
int			failures_in_a_row();

} // namespace snowflake
