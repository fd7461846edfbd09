/*
 * keeper_main.hpp
 *		The keeper as a background worker.
 */
#pragma once

namespace snowflake
{

/* To be called once, by the postmaster while it preloads. */
void		register_keeper();

} // namespace snowflake
