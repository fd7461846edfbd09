/*
 * window_writer.hpp
 *		Writes the window and the mark: the one place that opens and closes the
 *		generator.
 *
 * The window never passes the high-water mark ("mark" for short, see mark.hpp) that
 * is durable here and on the synchronous standbys.  Extending it therefore has two
 * steps: the mark is written, and when it is acknowledged, the window is published.
 * Nothing here waits for a standby; extend() is called again.
 *
 * In recovery no mark can be written; then the lease alone keeps the IDs apart.
 * Belongs to the keeper.
 */
#pragma once

#include <cstdint>
#include <optional>

#include "prelude.h"
#include "core/stopwatch.hpp"

namespace snowflake
{

class WindowWriter
{
public:
	bool		is_open() const;

	/* Stops all claims. */
	void		close();

	/*
	 * Opens the closed generator with nothing to issue: the first caller has the
	 * window extended.
	 */
	void		open(bool in_recovery);

	/*
	 * Extends the window of the open generator if that is due, as far as it can.
	 * Returns the milliseconds after which to call again, or kForever if that is
	 * up to the callers.
	 */
	long		extend(bool in_recovery);

	/* Lowers the mark to now; the generator is closed. */
	void		forget_mark(int64_t now);

	/* Are the synchronous standbys others than those that acknowledged the window? */
	bool		standbys_changed() const;

	/* The configuration was read again: an acknowledgement may be from another standby. */
	void
	configuration_was_read()
	{
		pending_.reset();
	}

	/* The time that IDs have now. */
	int64_t		current_ms() const;

	static constexpr long kForever = -1;

private:
	/* A mark that is written but not yet acknowledged. */
	struct Pending
	{
		int64_t		target;
		int64_t		base;
		XLogRecPtr	end;
		Stopwatch	since;
	};

	int64_t		first_ms(bool in_recovery) const;
	int64_t		first_ms_by_mark() const;
	bool		is_active();
	long		publish_if_acknowledged();
	void		publish(int64_t target, int64_t base);
	void		acknowledged_by(const char *standbys);

	std::optional<Pending> pending_;

	/* The standbys that acknowledged the window, as they were configured. */
	char	   *acknowledged_by_ = nullptr;

	/* The newest tick when it was last seen, and since when it has not changed. */
	int64_t		last_seen_ = -1;
	std::optional<Stopwatch> since_last_id_;
};

} // namespace snowflake
