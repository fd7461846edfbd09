/*
 * keeper.hpp
 *		The background worker that opens the generator and extends its window.
 */
#pragma once

namespace snowflake
{

/* To be called once, by the postmaster while it preloads. */
void		register_keeper();

} // namespace snowflake
