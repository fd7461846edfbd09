/*
 * generator.pml
 *		The protocol of callers, keeper and high-water mark ("mark" for short), small
 *		enough to be checked exhaustively.
 *
 * test/model/run has SPIN check this file.  The promises are its assertions:
 * P1, no ID is issued twice; P2, of two calls on one cluster, the one that
 * began after the other had returned gets the greater ID.  The file also knows
 * many ways to break the protocol (see Break), and each must lead to a
 * violation: this shows that the assertions can fail, and that each rule is needed.
 *
 * What is modelled, and how:
 *
 * - Each d_step is one access to shared memory, to the mark or to the registry
 *	 (the keeper also looks at what it alone writes), and between any two of
 *	 them anything else may happen.  Memory is sequentially consistent;
 *	 generator.hpp argues its acquires and releases itself.
 * - The clock has no state.  Each reading may give any time up to CLOCK_MAX,
 *	 which covers every clock there can be: late, stepping either way, read long
 *	 before it is used.
 * - Nothing is counted except ID time, which ends: any number of calls,
 *	 crashes, promotions and changes of worker ID fit in.
 * - A call begins as late as it can (when it reads the tick, for the last time)
 *	 and returns as soon as it can (with the swap), so that P2 is asked of more
 *	 pairs than it is promised for.  A claim of n ticks is n calls with nothing
 *	 in between.
 * - Some issued ID, any one, is watched, and all later ones are compared with
 *	 it.  That compares every pair in some run, as a table of all issued IDs
 *	 would, in far fewer states.
 *
 * Left out: how far the keeper extends the window, and renew_at (it extends as
 * far as it likes here, so no promise rests on them); snowflake_forget_mark(); a
 * standby that issues IDs on a lease of its own.
 *
 * With no option: a server alone, whose worker ID may change at every start,
 * and live as well.  -DLEASE=1: a registry deals the worker IDs out, to another
 * server too.  -DSTANDBY=1: there is an asynchronous standby, which may be
 * promoted.  -DSTANDBY=1 -DSYNC=1: a synchronous one.
 */

#ifndef CALLERS
#define CALLERS		2			/* 2 or 3 */
#endif
#ifndef CLOCK_MAX
#define CLOCK_MAX	2			/* milliseconds, as is every time; 1 to 3 */
#endif
#ifndef SEQ
#define SEQ			3			/* ticks in a millisecond; 2 would hide REOPEN_ABOVE */
#endif
#ifndef LEASE
#define LEASE		0
#endif
#ifndef STANDBY
#define STANDBY		0
#endif
#ifndef SYNC
#define SYNC		0
#endif

#define MAX_AHEAD	1
#define TIME_END	(CLOCK_MAX + MAX_AHEAD + 1)	/* no mark passes it */

#define CLOSED		255			/* the tick while nobody may claim */
#define NONE		255

#define MAX(a, b)	((a) > (b) -> (a) : (b))
#define MIN(a, b)	((a) < (b) -> (a) : (b))

/* An ID sorts by its time, then by its worker (0 or 1), then by its sequence. */
#define MS(tick)		((tick) / SEQ)
#define ID(w, tick)		(MS(tick) * 2 * SEQ + (w) * SEQ + (tick) % SEQ)
#define MS_OF_ID(id)	((id) / (2 * SEQ))

#define BEFORE(ms)		((ms) * SEQ - 1)		/* the tick before the first of ms */
#define NEXT_MS(tick)	((MS(tick) + 1) * SEQ)	/* the first of the millisecond after */

/* ---- The ways to break it: -DBREAK=... takes one of them. ---- */

mtype:Break = {
	NOTHING,

	/* a caller */
	NO_COMPARE,					/* stores the tick without comparing */
	WINDOW_FIRST,				/* reads the window, then the tick */
	TORN_WINDOW,				/* reads the worker ID and its limit one by one */

	/* the keeper and the mark */
	PUBLISH_EARLY,				/* publishes what is not flushed yet */
	TRUST_MARK,					/* newly started, does not flush the mark that it finds */
	LOWER_MARK,					/* lowers the mark */
	START_FROM_CLOCK,			/* starts from the clock and not from the mark */

	/* a change of worker ID */
	STAY_OPEN,					/* does not close the tick */
	CLOSE_LATE,					/* reads the last tick, then closes */
	OPEN_EARLY,					/* opens before the new window is published */
	OPEN_ABOVE_MARK,			/* opens above the mark, and the next keeper opens at the mark */
	REOPEN_SAME,				/* reopens where it closed */
	REOPEN_ABOVE,				/* reopens one tick above, in the same millisecond */
	REOPEN_END,					/* reopens at the end of the millisecond: it may have closed there */

	/* a lease */
	RELEASE_EARLY,				/* gives the worker ID back while the tick is open */
	RENEW_LATE,					/* publishes what is not renewed yet */

	/* a promotion */
	PROMOTE_CLOCK,				/* starts from the clock and max_ahead, not from the mark */
	PROMOTE_MARK,				/* starts from the mark, not from the clock and max_ahead */
	PROMOTE_AT_LEAD,			/* starts with the last millisecond that max_ahead allowed */
	KEEPER_FORGETS,				/* starts from the mark if the keeper died meanwhile */
	CRASH_FORGETS,				/* starts from the mark after a crash meanwhile */
	STANDBY_BEHIND				/* publishes what is not on the synchronous standby yet */
}

#ifndef BREAK
#define BREAK		NOTHING
#endif
#define BROKEN(how)	(BREAK == how)

/* ---- Shared memory: made anew after a crash. ---- */

byte	tick = CLOSED;			/* the last one that was issued */
bit		worker;					/* the window: these two are one word */
byte	until;

/* ---- The mark: what the server sees, and what is on disk. ---- */

byte	mark = 1;
byte	durable = 1;

/* ---- What the callers and the keeper keep to themselves. ---- */

mtype:Step = {
	IDLE, TICK_READ, HALF_READ, WINDOW_TOO_EARLY, WINDOW_READ,	/* a caller */
	START, TAKE, RUN, FLUSH, PUBLISH, OPEN, CLOSE, GIVE_BACK	/* the keeper */
}

typedef Call {
	mtype:Step at = IDLE;
	byte	t;					/* the tick and the window that it read */
	bit		w;
	byte	u;
	bit		after;				/* the watched ID was there when the call began */
}
Call	call[CALLERS];
#define me		call[_pid]

mtype:Step at = START;
bit		w;						/* the worker ID to use from now on */
byte	last;					/* while the tick is closed: where to open it */
byte	ends;					/* with a registry: where the lease ends */
bit		wrote;					/* for TRUST_MARK only */

/*
 * A process that is killed starts anew.  Also when a call is over, values that nobody
 * will read again must not distinguish states.
 */
#define RESET_CALL(i)	call[i].at = IDLE; \
						call[i].t = 0; call[i].w = 0; call[i].u = 0; call[i].after = 0
#define RESET_KEEPER	at = START; w = 0; last = 0; ends = 0; wrote = 0

/* ---- The registry: where each worker ID's next lease starts. ---- */

byte	leased[2] = { 1, 1 };
byte	held = NONE;			/* the worker ID that this server leases */

/* ---- The standby. ---- */

/* The mark, as far as it has been replicated. */
byte	standby = 1;

/* Where the data are that use the watched ID. */
mtype:Data = { HERE, COPIED, LOST }
mtype:Data data = HERE;

/*
 * The mark was written before the promotion, so it does not know the IDs that
 * were not replicated.  The keeper must be able to tell that from what is
 * durable, such as the timeline on which a mark was written: see KEEPER_FORGETS
 * and CRASH_FORGETS.
 */
bit		mark_is_old;
bit		durable_is_old;

/* ---- The promises. ---- */

byte	watched = NONE;
bit		ours;					/* this cluster issued it: P2 is about such IDs */

#ifndef P1
#define P1		1				/* 0: do not check it, to see the other one alone */
#endif
#ifndef P2
#define P2		1
#endif

#define CHECK(id, after) \
	assert(!P1 || (id) != watched); \
	assert(!P2 || !(after) || (id) > watched)

/*
 * ---- The callers are all alike, and which of them got where must not distinguish
 * states either, so they are kept sorted. ----
 */

#define KEY(i) \
	((((call[i].at * 32 + call[i].t) * 8 + call[i].u) * 2 + call[i].w) * 2 + call[i].after)
#define EXCHANGE(what, i, j) \
	spare = call[i].what; call[i].what = call[j].what; call[j].what = spare; spare = 0

byte	spare;

inline order(i, j)
{
	if
	:: KEY(i) > KEY(j) ->
		EXCHANGE(at, i, j); EXCHANGE(t, i, j); EXCHANGE(w, i, j);
		EXCHANGE(u, i, j); EXCHANGE(after, i, j)
	:: else
	fi
}

inline sort()
{
	order(0, 1);
	order(CALLERS - 2, CALLERS - 1);
	order(0, 1)
}

/* ---- A caller: claim() in generator.hpp. ---- */

/*
 * A fresh millisecond starts at the sequence that follows, not at 0, or one
 * further: fresh_tick() in generator.hpp.
 */
#define IS_FRESH(now)	(me.t < (now) * SEQ)
#define FIRST(now, odd)	(IS_FRESH(now) -> (now) * SEQ + (me.t + 1 + (odd)) % SEQ : me.t + 1)

#define UNCHANGED	(tick == me.t || (BROKEN(NO_COMPARE) && tick != CLOSED))
#define MAY(now, odd) \
	(me.at == WINDOW_READ && (now) <= CLOCK_MAX && UNCHANGED && (IS_FRESH(now) || !(odd)) && \
	 FIRST(now, odd) < me.u * SEQ && MS(FIRST(now, odd)) <= (now) + MAX_AHEAD)

/* The clock, which may have been read much earlier, and the swap. */
#define CLAIM(now, odd) \
	:: d_step { MAY(now, odd) -> tick = FIRST(now, odd); \
				CHECK(ID(me.w, tick), me.after); RESET_CALL(_pid); sort() } \
	:: d_step { MAY(now, odd) && watched == NONE -> tick = FIRST(now, odd); \
				watched = ID(me.w, tick); ours = 1; data = HERE; RESET_CALL(_pid); sort() }

active [CALLERS] proctype Caller()
{
	do
	:: d_step { me.at == IDLE && tick != CLOSED ->
				me.t = tick; me.after = ours; me.at = TICK_READ; sort() }
	:: d_step { me.at == TICK_READ && me.t + 1 < until * SEQ ->
				me.w = worker; me.u = until; me.at = WINDOW_READ; sort() }
	CLAIM(0, 0)
	CLAIM(1, 0)
	CLAIM(2, 0)
	CLAIM(3, 0)
	CLAIM(0, 1)
	CLAIM(1, 1)
	CLAIM(2, 1)
	CLAIM(3, 1)

	/* The window or the clock says no, or the swap failed: start over. */
	:: d_step { me.at != IDLE -> RESET_CALL(_pid); sort() }

	:: d_step { BROKEN(WINDOW_FIRST) && me.at == IDLE ->
				me.w = worker; me.u = until; me.after = ours; me.at = WINDOW_TOO_EARLY; sort() }
	:: d_step { me.at == WINDOW_TOO_EARLY && tick != CLOSED ->
				me.t = tick; me.at = WINDOW_READ; sort() }
	:: d_step { BROKEN(TORN_WINDOW) && me.at == TICK_READ ->
				me.w = worker; me.at = HALF_READ; sort() }
	:: d_step { me.at == HALF_READ ->
				me.u = until; me.at = WINDOW_READ; sort() }
	od
}

/* ---- The keeper. ---- */

/*
 * Promoted, and the clock shows now: before anything else, raise the mark above
 * all that led this clock by max_ahead or less.  What led it by more, and was
 * not replicated, is not promised (unless the standby is synchronous).
 */
#define RAISED(now)		(BROKEN(PROMOTE_CLOCK) -> (now) + MAX_AHEAD + 1 : \
						(BROKEN(PROMOTE_MARK) -> mark : \
						(BROKEN(PROMOTE_AT_LEAD) -> MAX(mark, (now) + MAX_AHEAD) : \
						 MAX(mark, (now) + MAX_AHEAD + 1))))
#define RAISE(now) \
	:: d_step { at == START && mark_is_old && (now) <= CLOCK_MAX -> \
				mark = RAISED(now); mark_is_old = 0; \
				if \
				:: !SYNC && data == LOST && MS_OF_ID(watched) > (now) + MAX_AHEAD -> \
					watched = NONE; ours = 0; data = HERE \
				:: else \
				fi }

/*
 * The tick is closed, after a crash or because a keeper died in between: from
 * the mark, with either worker ID configured (a leased one is taken next).
 */
#define START_AS(worker_id) \
	:: d_step { at == START && tick == CLOSED && !mark_is_old && \
				(!LEASE || worker_id == 0) -> \
				last = BEFORE((BROKEN(START_FROM_CLOCK) -> 1 : mark)); \
				w = worker_id; at = (LEASE -> TAKE : RUN) }

/* The lease starts where the one before it of that worker ID ended. */
#define TAKE_LEASE_OF(worker_id) \
	:: d_step { at == TAKE -> \
				w = worker_id; held = worker_id; ends = leased[worker_id]; \
				last = MAX(last, BEFORE(ends)); at = RUN }

#define REOPEN_AT	(BROKEN(REOPEN_SAME) -> last : \
					(BROKEN(REOPEN_ABOVE) -> last + 1 : \
					(BROKEN(REOPEN_END) -> NEXT_MS(last) - 1 : \
					 NEXT_MS(last))))

/*
 * A keeper that dies while the tick is closed takes `last` with it, and the
 * next one opens at the mark.  So the tick must never have been above that: a
 * caller that had read it there, and a window later on, might find it again.
 */
#define MAY_OPEN	(last <= BEFORE(mark) || BROKEN(OPEN_ABOVE_MARK))

#define UNTIL		(LEASE -> MIN(ends, mark) : mark)

active proctype Keeper()
{
	do
	RAISE(0)
	RAISE(1)
	RAISE(2)
	RAISE(3)
	START_AS(0)
	START_AS(1)

	/* The tick is open: a keeper died alone, and the callers have gone on. */
	:: d_step { at == START && tick != CLOSED ->
				w = worker; at = RUN }

	/* Extend the lease, the mark (by as much as it likes), then the window. */
	:: d_step { LEASE && at == RUN && held == w && leased[w] < TIME_END ->
				leased[w] = leased[w] + 1; ends = leased[w] }
	:: d_step { at == RUN && mark < TIME_END ->
				mark = mark + 1; wrote = BROKEN(TRUST_MARK) }
	:: d_step { at == RUN && (tick == CLOSED -> MAY_OPEN : UNTIL > until || w != worker) ->
				at = FLUSH }

	/*
	 * Even when the mark was high enough as it was found: a keeper that died may
	 * have written it and not flushed it.
	 */
	:: d_step { at == FLUSH ->
				durable = mark; durable_is_old = mark_is_old; wrote = 0; at = PUBLISH }
	:: d_step { at == PUBLISH && (!SYNC || standby >= mark || BROKEN(STANDBY_BEHIND)) ->
				worker = w; until = UNTIL; ends = 0; at = (tick == CLOSED -> OPEN : RUN) }
	:: d_step { at == OPEN ->
				tick = last; last = 0; at = RUN }

	/* Change the worker ID: close, give the old one back, take the new one. */
	:: d_step { at == RUN && tick != CLOSED && MS(tick) < TIME_END ->
				last = tick; tick = CLOSED; at = GIVE_BACK }
	:: d_step { at == GIVE_BACK ->
				if
				:: LEASE && held == w -> leased[w] = MS(last) + 1; held = NONE
				:: else
				fi;
				last = REOPEN_AT; w = 1 - w; at = (LEASE -> TAKE : RUN) }
	TAKE_LEASE_OF(0)
	TAKE_LEASE_OF(1)

	:: d_step { BROKEN(PUBLISH_EARLY) && at == FLUSH ->
				worker = w; until = UNTIL }
	:: d_step { BROKEN(TRUST_MARK) && at == FLUSH && !wrote ->
				at = PUBLISH }
	:: d_step { BROKEN(LOWER_MARK) && at == RUN && mark > 1 ->
				mark = mark - 1 }
	:: d_step { BROKEN(STAY_OPEN) && at == RUN && tick != CLOSED ->
				last = tick; at = GIVE_BACK }
	:: d_step { BROKEN(CLOSE_LATE) && at == RUN && tick != CLOSED && MS(tick) < TIME_END ->
				last = tick; at = CLOSE }
	:: d_step { at == CLOSE ->
				tick = CLOSED; at = GIVE_BACK }
	:: d_step { BROKEN(OPEN_EARLY) && at == RUN && tick == CLOSED ->
				tick = last }
	:: d_step { BROKEN(RELEASE_EARLY) && at == RUN && tick != CLOSED && held == w ->
				leased[w] = MS(tick) + 1; held = NONE }
	:: d_step { BROKEN(RENEW_LATE) && LEASE && at == RUN && ends < TIME_END ->
				ends = ends + 1 }
	od
}

/* ---- Another server that leases from the same registry. ---- */

/*
 * Leases worker 0, issues one ID and gives it back.  It may do so whenever it
 * likes, since by some clock the lease of this server has always expired.
 */
#define OTHER_ID(seq)	ID(0, leased[0] * SEQ + (seq))
#define OTHER_DONE		leased[0] = leased[0] + 1; held = (held == 0 -> NONE : held)

#define OTHER_CLAIM(seq) \
	:: d_step { LEASE && (seq) < SEQ && leased[0] < TIME_END -> \
				CHECK(OTHER_ID(seq), false); OTHER_DONE } \
	:: d_step { LEASE && (seq) < SEQ && leased[0] < TIME_END && watched == NONE -> \
				watched = OTHER_ID(seq); ours = 0; OTHER_DONE }

active proctype Other()
{
	do
	OTHER_CLAIM(0)
	OTHER_CLAIM(1)
	OTHER_CLAIM(2)
	od
}

/* ---- What goes wrong, and what happens by itself. ---- */

inline lose_memory()
{
	tick = CLOSED; worker = 0; until = 0;
	mark = durable; mark_is_old = durable_is_old;
	RESET_KEEPER;
	RESET_CALL(0);
	RESET_CALL(CALLERS / 2);
	RESET_CALL(CALLERS - 1)
}

active proctype World()
{
	do
	/* The keeper alone dies. */
	:: d_step { RESET_KEEPER;
				mark_is_old = (BROKEN(KEEPER_FORGETS) -> 0 : mark_is_old) }

	/* A crash, or a restart: the mark may be lost unless it was flushed. */
	:: d_step { lose_memory();
				mark_is_old = (BROKEN(CRASH_FORGETS) -> 0 : mark_is_old) }

	/* Somebody flushes the WAL. */
	:: d_step { durable = mark; durable_is_old = mark_is_old }

	/*
	 * The standby takes all there is: any prefix of the WAL is what there was at
	 * some moment.  The data of an ID come after its mark; what was issued by now
	 * counts as copied, data or not, which asks for more than is promised.
	 */
	:: d_step { STANDBY ->
				standby = durable;
				data = (watched != NONE && data == HERE -> COPIED : data) }

	/* The primary is lost, and the standby promoted. */
	:: d_step { STANDBY ->
				durable = standby; durable_is_old = 1;
				data = (watched != NONE && data == HERE -> LOST : data);
				lose_memory() }
	od
}
