/*
 * pin.cpp
 *		Compares the configured layout with the pinned one, once in each backend.
 *
 * Each backend checks for itself, so that decoding works whether or not the keeper
 * runs.  The pin never changes once it exists, and the configuration only with a
 * restart, so one check is enough.  Without a pin no ID has been issued yet; then
 * the configuration is used, and checked again next time.
 */
#include "prelude.h"

#include "mark.hpp"
#include "pin.hpp"
#include "settings.hpp"
#include "shared.hpp"
#include "timestamps.hpp"

namespace snowflake
{

bool		layout_confirmed = false;

void
confirm_layout()
{
	require_preload();
	my_counters = &shared->counters[MY_PROC_NUMBER];

	const auto	pinned = read_pinned_layout();

	if (!pinned)
		return;
	if (*pinned != layout)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the configured snowflake layout does not match this cluster's IDs"),
						errdetail("Configured: epoch %s, %d worker bits, %d ID bits. Pinned when the first ID was issued: epoch %s, %d worker bits, %d ID bits.",
								  to_text(layout.epoch_ms), layout.worker_bits, layout.id_bits,
								  to_text(pinned->epoch_ms), pinned->worker_bits, pinned->id_bits),
						errhint("Set \"snowflake.epoch\", \"snowflake.worker_bits\" and \"snowflake.id_bits\" back to the pinned values in postgresql.conf, and restart the server.")));
	layout_confirmed = true;
}

} // namespace snowflake
