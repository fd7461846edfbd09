/*
 * keeper_main.hpp
 *		The background worker that the keeper is.
 */
#pragma once

namespace snowflake
{

/* To be called once, by the postmaster while it preloads. */
void		register_keeper();

} // namespace snowflake
