/*
 * known_horizon.hpp
 *		The horizons that this transaction has been told.
 */
#pragma once

namespace snowflake
{

/*
 * Lets the next statement compute a new horizon although its snapshot is the same:
 * a transaction that ends without having written changes no snapshot.  Plans
 * that are running keep theirs.
 */
void		forget_known_horizons();

} // namespace snowflake
