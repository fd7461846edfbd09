/*
 * horizon.pml
 *		The safe horizon: transactions that take IDs, and a reader who must not
 *		miss any of them.
 *
 * test/model/run has SPIN check this file.  The promises are its assertions:
 * P1, an ID at or below the horizon is visible to the reader's snapshot, or its
 * transaction does not commit; P2, when nobody is left who has taken an ID, the
 * horizon reaches the newest one.  The file also knows many ways to break the
 * protocol (see Break), and each must lead to a violation.
 *
 * What is modelled, and how:
 *
 * - Each d_step is one access to shared memory, to the running transactions or to
 *	 the prepared ones; the last two have locks.  Between any two of them anything
 *	 else may happen.
 * - A claim is one step: generator.pml checks that the window which was read goes
 *	 with the swap.  Here a window is its worker ID alone, so one that comes back
 *	 looks as if it had never changed.
 * - The walk along the ring is one step: what is below the count does not change.
 *	 What is appended while there is no snapshot is not kept, since the next
 *	 snapshot sees it, and so all that is older.
 * - A backend runs any number of transactions, until the transaction IDs are used
 *	 up.  A transaction gets its own before or after its first snowflake ID, and
 *	 may take more of the latter.
 * - Whatever still runs may commit, so the horizon has to be below its IDs at
 *	 once.  The same goes for the next ID that can be claimed.
 * - The reader starts over and over.  It looks at the announcements in any order.
 *
 * Memory is sequentially consistent.  In the code, release and acquire alone keep
 * two orders: announcement and claim, against newest ID and announcements (see
 * SWAP_RELAXED and NEWEST_LATE); entry of the ring and withdrawal, against
 * announcements and ring (see APPEND_LATE and RING_FIRST).
 *
 * Left out: entries of the ring that are overwritten, and its fences;
 * subtransactions; recovery and promotions; snowflake_forget_mark(); how
 * long a horizon is remembered; more than one entry for prepared transactions, and
 * more than two backends.
 *
 * With no option: commits and rollbacks.  -DPREPARE=1: prepared transactions.
 * -DPARALLEL=1: one backend, with a parallel worker.
 * -DCHANGES=1: a change of the worker ID.  -DCHANGES=1 -DCRASH=1: that or a crash,
 * and the newest ID is read at once.
 */

#ifndef XIDS
#define XIDS		2			/* how many transaction IDs there are; 0 to 6 */
#endif
#ifndef CHANGES
#define CHANGES		0			/* of the worker ID, and crashes */
#endif
#ifndef PREPARE
#define PREPARE		0
#endif
#ifndef PARALLEL
#define PARALLEL	0			/* the second backend is the first one's worker */
#endif
#ifndef CRASH
#define CRASH		0
#endif
#ifndef IDS
#define IDS			2			/* the last tick, but each change gives more */
#endif

#define BACKENDS	2
#define SEQ			2			/* ticks in a millisecond */
#define CLOSED		255			/* the tick while nobody may claim */
#define NONE		31

#define MAX(a, b)	((a) > (b) -> (a) : (b))
#define MIN(a, b)	((a) < (b) -> (a) : (b))

/* An ID sorts by its time, then by its worker (0 or 1), then by its sequence. */
#define ID(w, tick)		((tick) / SEQ * 2 * SEQ + (w) * SEQ + (tick) % SEQ)
#define NEXT_MS(tick)	(((tick) / SEQ + 1) * SEQ)	/* the first of the millisecond after */

/* ---- The ways to break it: -DBREAK=... takes one of them. ---- */

mtype:Break = {
	NOTHING,

	/* the newest ID */
	ONE_LOOK,					/* does not look at the window again */
	CLOSED_AT_NEXT,				/* leaves behind where it will open, with the old worker ID */
	CLOSED_AT_NOTHING,			/* leaves nothing behind */

	/* a transaction */
	ANNOUNCE_LATE,				/* announces after the claim */
	ANNOUNCE_LAST,				/* announces again, and keeps the last and not the smallest */
	SWAP_RELAXED,				/* the announcement may be seen later than the claim */
	END_EARLY,					/* appends and withdraws before it is out of the running ones */
	APPEND_LATE,				/* appends after the withdrawal */
	LATEST_UNLOCKED,			/* reads the latest before it has the lock */
	STAY_ANNOUNCED,				/* does not withdraw when it is rolled back */
	SETTLE_LATER,				/* announces its second ID instead of its first */

	/* a parallel worker */
	WORKER_SILENT,				/* does not announce */
	WORKER_ENDS,				/* withdraws what it announced for its leader */
	SETTLE_WITH_WORKER,			/* the leader announces its own first ID instead of the bound */

	/* a prepared one */
	PREPARED_FORGOTTEN,			/* is not remembered */
	REMEMBER_LATE,				/* is remembered after the withdrawal */
	REUSE_EARLY,				/* is replaced, and appended when the lock has been released */
	REUSE_LOST,					/* is replaced and not appended */
	KNOWN_LATE,					/* is known again when a snapshot has been taken */

	/* the reader */
	NEWEST_LATE,				/* the announcements, then the newest ID */
	RING_FIRST,					/* the ring, then the announcements */
	PREPARED_FIRST,				/* the prepared ones, then the announcements */
	RING_BEFORE_PREPARED,		/* the ring, then the prepared ones */
	NO_RING,					/* no look at the ring */
	STOP_AT_SEEN,				/* stops at an entry that the snapshot sees */
	STOP_AT_EQUAL,				/* stops at <= instead of < */
	PREPARED_NOW,				/* leaves out the prepared ones that have ended by now */
	COUNT_SEEN,					/* counts the prepared ones that the snapshot sees */

	REUSE_FIRST,				/* not a fault: is replaced, then appended, all with the lock */

	NEVER						/* nothing: claims that no horizon is the newest ID */
}

#ifndef BREAK
#define BREAK		NOTHING
#endif
#define BROKEN(how)	(BREAK == how)

#ifndef P1
#define P1		1				/* 0: do not check it, to see the other one alone */
#endif
#ifndef P2
#define P2		1
#endif

/* ---- Shared memory: made anew after a crash. ---- */

byte	tick;					/* the last one that was issued */
bit		worker = 1;				/* the window */
byte	closed_at;				/* an ID: what the keeper leaves behind */

/* The ring.  The newest entry is the one below the count. */
byte	ended;
byte	ended_latest[XIDS + 1];
byte	ended_xid[XIDS + 1];
byte	ended_first[XIDS + 1];
bit		ring_lock;

/* The prepared transactions: one entry. */
byte	entry_xid;				/* 0 if it was never used */
byte	entry_first;
bit		prepared_known = 1;
byte	late_xid;				/* for REUSE_EARLY only */
byte	late_first;

/* ---- Transaction IDs, from 1 on. ---- */

byte	next_xid = 1;
byte	latest;					/* latestCompletedXid */
byte	running;				/* a bit for each */

#define BIT(xid)		(1 << (xid))
#define RUNS(xid)		(running & BIT(xid))

/* The prepared transaction, as the server has it.  Survives a crash. */
byte	prepared_xid;			/* 0 if there is none */
byte	prepared_id;
byte	prepared_first;			/* a lock has it */

/* ---- The backends, each with its announcement. ---- */

mtype:Step = {
	IDLE, OPEN_READ, TICK_READ, CLOSED_READ, BOUND,				/* newest_id() */
	FRESH, CLAIMED, READY,										/* the first claim, and more */
	LED,														/* only a worker has announced */
	ENDED, LOCKED, APPENDED, WITHDRAWN,							/* the end */
	REMEMBERED,													/* a PREPARE */
	NEWEST, ANNOUNCED, PREPARED, RING, ALL_READ					/* the reader */
}

typedef Backend {
	mtype:Step at = IDLE;
	byte	first = NONE;		/* the announcement */
	byte	bound;				/* what is to be announced */
	bit		w;					/* the window that was read */
	byte	xid;				/* 0: none yet */
	byte	id = NONE;			/* the first one that was claimed and may be committed */
	byte	latest;
	bit		looked;				/* the reader has looked at the announcement */
}
Backend	backend[BACKENDS];
#define me		backend[_pid]

#define RESET_BACKEND(i) \
	backend[i].at = IDLE; backend[i].bound = 0; backend[i].w = 0; \
	backend[i].xid = 0; backend[i].id = NONE; backend[i].latest = 0

/* Its parallel worker, while there is one. */
mtype:Step parallel = IDLE;
byte	parallel_bound;

/* ---- The keeper. ---- */

mtype:Keeper = { OPENED, LEAVE, PUBLISH, OPEN }
mtype:Keeper keeper = OPENED;
byte	last;					/* while the tick is closed: the last one */
byte	changes;

/* ---- The reader. ---- */

mtype:Step at = IDLE;
byte	xmax;
byte	xip;					/* a bit for each that was running */
bit		rw;						/* the window that it read */
byte	rt;						/* the tick that it read */
byte	horizon;

#define SEES(xid)		((xid) < xmax && !(xip & BIT(xid)))

#define RESET_READER \
	at = IDLE; xmax = 0; xip = 0; rw = 0; rt = 0; horizon = 0; least = 0; quiet = 0; \
	backend[0].looked = 0; backend[1].looked = 0

/* ---- The promises. ---- */

byte	least;					/* of the IDs that were committed since the snapshot */
bit		quiet;					/* nobody was there then, nor has come since */
byte	issued;					/* the newest ID */

/* The least ID that can be claimed now: that of the next tick, or after opening. */
#define NEXT_ID	\
	(tick != CLOSED -> ID(worker, tick + 1) : ID(keeper == OPEN && worker, NEXT_MS(last) + 1))

#define CHECK \
	assert(!P1 || (horizon < least && horizon < backend[0].id && horizon < backend[1].id && \
				   horizon < NEXT_ID && (prepared_xid == 0 || horizon < prepared_id))); \
	assert(!P2 || !quiet || horizon >= issued); \
	assert(!BROKEN(NEVER) || latest == 0 || horizon != issued)

/* ---- What all do. ---- */

/* newest_id.hpp: step by step when that is what is looked at, else at once. */
#define BY_STEPS		(CHANGES && !CRASH)
#define NEWEST_ID		(tick == CLOSED -> closed_at : ID(worker, tick))

inline append(its_latest, its_xid, its_first)
{
	if
	:: at != IDLE || RUNS(its_xid) ->
		ended_latest[ended] = its_latest;
		ended_xid[ended] = its_xid;
		ended_first[ended] = its_first;
		ended++
	:: else
	fi
}

inline forget_ended()
{
	do
	:: ended == 0 -> break
	:: else ->
		ended--;
		ended_latest[ended] = 0; ended_xid[ended] = 0; ended_first[ended] = 0
	od
}

inline leave_running(its_xid)
{
	running = running & ~BIT(its_xid);
	latest = MAX(latest, its_xid)
}

inline committed(its_id)
{
	if
	:: at != IDLE -> least = MIN(least, its_id)
	:: else
	fi
}

/*
 * ---- The backends are alike, and which of them got where must not tell states
 * apart either: so they are kept sorted. ----
 */

#define KEY(i) \
	(((((((backend[i].at * 32 + backend[i].first) * 32 + backend[i].bound) * 32 + backend[i].id) * 8 + \
		backend[i].xid) * 8 + backend[i].latest) * 2 + backend[i].w) * 2 + backend[i].looked)
#define EXCHANGE(what) \
	spare = backend[0].what; backend[0].what = backend[1].what; backend[1].what = spare; spare = 0

byte	spare;

inline sort()
{
	if
	:: !PARALLEL && KEY(0) > KEY(1) ->
		EXCHANGE(at); EXCHANGE(first); EXCHANGE(bound); EXCHANGE(id);
		EXCHANGE(xid); EXCHANGE(latest); EXCHANGE(w); EXCHANGE(looked)
	:: else
	fi
}

/* ---- A backend: see transaction.cpp and prepared.cpp. ---- */

#define MAY_CLAIM \
	(tick < IDS + changes * SEQ && \
	 (me.at == FRESH || me.at == READY || (BROKEN(ANNOUNCE_LATE) && me.at == BOUND)))

#define MAY_END \
	((me.at == READY || me.at == LED) && (me.bound == 0 || BROKEN(SWAP_RELAXED)) && parallel == IDLE)

/* Nobody else may have taken an ID of this transaction. */
#define MAY_SETTLE \
	(me.first == NONE && (parallel == IDLE || BROKEN(SETTLE_WITH_WORKER)) && !BROKEN(SWAP_RELAXED))

#define MAY_PREPARE \
	(PREPARE && MAY_END && me.xid != 0 && prepared_xid == 0 && !RUNS(entry_xid) && late_xid == 0 && ring_lock == 0)

#define ASKS	(me.at == IDLE || me.at == LED || (me.at == READY && me.id != NONE && me.bound == 0))

inline announce()
{
	me.first = (BROKEN(ANNOUNCE_LAST) -> me.bound : MIN(me.first, me.bound));
	me.bound = 0;
	quiet = 0
}

/* With the lock of the prepared ones, and that of the ring. */
inline remember(first_id)
{
	if
	:: entry_xid != 0 && (BROKEN(REUSE_EARLY) || BROKEN(REUSE_FIRST)) ->
		late_xid = entry_xid; late_first = entry_first
	:: entry_xid != 0 && !BROKEN(REUSE_EARLY) && !BROKEN(REUSE_FIRST) && !BROKEN(REUSE_LOST) ->
		append(latest, entry_xid, entry_first)
	:: else
	fi;
	if
	:: BROKEN(PREPARED_FORGOTTEN)
	:: else -> entry_xid = me.xid; entry_first = first_id
	fi
}

active [BACKENDS] proctype Backends() provided (at != ALL_READ && (!PARALLEL || _pid == 0))
{
	do
	:: d_step { me.xid == 0 && next_xid <= XIDS && (me.at == IDLE || me.at == READY) && parallel == IDLE ->
				me.xid = next_xid; running = running | BIT(next_xid); next_xid++; sort() }

	/* What is newest?  It may be asked again after a claim. */
	:: d_step { ASKS && !BY_STEPS ->
				me.bound = NEWEST_ID + 1; me.at = BOUND; sort() }
	:: d_step { ASKS && BY_STEPS ->
				me.w = worker; me.at = OPEN_READ; sort() }
	:: d_step { me.at == OPEN_READ ->
				if
				:: tick == CLOSED -> me.w = 0; me.at = CLOSED_READ
				:: else -> me.bound = tick; me.at = TICK_READ
				fi; sort() }
	:: d_step { me.at == CLOSED_READ ->
				me.bound = closed_at + 1; me.at = BOUND; sort() }
	:: d_step { me.at == TICK_READ ->
				if
				:: me.w == worker || BROKEN(ONE_LOOK) ->
					me.bound = ID(me.w, me.bound) + 1; me.at = BOUND
				:: else -> me.bound = 0; me.at = IDLE
				fi;
				me.w = 0; sort() }

	/* Announce it, then claim. */
	:: d_step { me.at == BOUND ->
				me.at = (MAY_SETTLE -> FRESH : READY);
				if
				:: BROKEN(SWAP_RELAXED)
				:: else -> announce()
				fi; sort() }
	:: d_step { BROKEN(SWAP_RELAXED) && me.at == READY && me.bound != 0 ->
				announce(); sort() }
	:: d_step { MAY_CLAIM ->
				tick = tick + 1; issued = ID(worker, tick); quiet = 0;
				me.at = (me.at == FRESH || (BROKEN(SETTLE_LATER) && me.id != NONE) -> CLAIMED : me.at);
				me.bound = (me.at == CLAIMED -> issued : me.bound);
				me.id = MIN(me.id, issued); sort() }
	:: d_step { me.at == CLAIMED ->
				me.first = me.bound; me.bound = 0; me.at = READY; sort() }
	:: d_step { me.at == FRESH ->		/* the claim was cancelled */
				me.at = READY; sort() }

	/* ROLLBACK, or a COMMIT without a transaction ID. */
	:: d_step { MAY_END || me.at == REMEMBERED ->
				leave_running(me.xid); RESET_BACKEND(_pid); me.at = APPENDED;
				if
				:: BROKEN(STAY_ANNOUNCED) -> me.at = IDLE
				:: else
				fi; sort() }

	/* COMMIT. */
	:: d_step { MAY_END && me.xid != 0 ->
				if
				:: BROKEN(END_EARLY)
				:: else -> leave_running(me.xid); committed(me.id); me.id = NONE
				fi;
				me.bound = me.first; me.at = ENDED; sort() }
	:: d_step { me.at == ENDED && ring_lock == 0 ->
				if
				:: BROKEN(APPEND_LATE) -> me.first = NONE
				:: else
				fi;
				ring_lock = !BROKEN(LATEST_UNLOCKED); me.latest = latest; me.at = LOCKED; sort() }
	:: d_step { me.at == LOCKED && (ring_lock == 1 || BROKEN(LATEST_UNLOCKED)) ->
				append(me.latest, me.xid, me.bound);
				ring_lock = 0; me.latest = 0; me.bound = 0; me.at = APPENDED;
				if
				:: BROKEN(END_EARLY)
				:: else -> me.xid = 0
				fi; sort() }
	:: d_step { me.at == APPENDED ->
				me.first = NONE;
				if
				:: BROKEN(END_EARLY) && me.xid != 0 -> me.at = WITHDRAWN
				:: else -> RESET_BACKEND(_pid)
				fi; sort() }
	:: d_step { me.at == WITHDRAWN ->
				leave_running(me.xid); committed(me.id); RESET_BACKEND(_pid); sort() }

	/* PREPARE.  The entry is free, or its transaction has ended. */
	:: d_step { MAY_PREPARE ->
				if
				:: BROKEN(REMEMBER_LATE) -> me.bound = me.first; me.first = NONE
				:: else -> remember(me.first)
				fi;
				me.at = REMEMBERED; sort() }
	:: d_step { me.at == REMEMBERED && prepared_xid == 0 && late_xid == 0 ->
				if
				:: BROKEN(REMEMBER_LATE) -> remember(me.bound)
				:: else
				fi;
				prepared_xid = me.xid; prepared_id = me.id;
				prepared_first = (CRASH -> entry_first : 0);
				me.first = NONE; RESET_BACKEND(_pid); sort() }
	:: d_step { late_xid != 0 && ring_lock == 0 ->
				append(latest, late_xid, late_first); late_xid = 0; late_first = 0; sort() }
	od
}

/* ---- A parallel worker of the first backend. ---- */

#define leader		backend[0]

active proctype Worker() provided (at != ALL_READ)
{
	do
	:: d_step { PARALLEL && parallel == IDLE &&
				(leader.at == IDLE || leader.at == READY || leader.at == LED) ->
				parallel_bound = NEWEST_ID + 1; parallel = BOUND }
	:: d_step { parallel == BOUND ->
				if
				:: BROKEN(WORKER_SILENT)
				:: else -> leader.first = MIN(leader.first, parallel_bound)
				fi;
				leader.at = (leader.at == IDLE -> LED : leader.at);
				parallel_bound = 0; quiet = 0; parallel = READY }
	:: d_step { parallel == READY && tick < IDS ->
				tick = tick + 1; issued = ID(worker, tick); leader.id = MIN(leader.id, issued); quiet = 0 }
	:: d_step { parallel == READY ->
				leader.first = (BROKEN(WORKER_ENDS) -> NONE : leader.first);
				parallel = IDLE }
	od
}

/* ---- Other sessions: they end what is prepared, or take no ID. ---- */

inline prepared_has_ended()
{
	leave_running(prepared_xid);
	prepared_xid = 0; prepared_id = 0; prepared_first = 0
}

active proctype Others() provided (at != ALL_READ)
{
	do
	:: d_step { prepared_xid != 0 -> committed(prepared_id); prepared_has_ended() }
	:: d_step { prepared_xid != 0 -> prepared_has_ended() }
	:: d_step { next_xid <= XIDS -> latest = next_xid; next_xid++ }
	od
}

/* ---- The keeper: see window_writer.cpp. ---- */

#define LEFT_BEHIND \
	(BROKEN(CLOSED_AT_NOTHING) -> 0 : \
	(BROKEN(CLOSED_AT_NEXT) -> ID(worker, NEXT_MS(last)) : ID(worker, last)))

active proctype Keeper() provided (at != ALL_READ)
{
	do
	:: d_step { keeper == OPENED && changes < CHANGES ->
				last = tick; tick = CLOSED; quiet = 0; changes++; keeper = LEAVE }
	:: d_step { keeper == LEAVE ->
				closed_at = LEFT_BEHIND; keeper = PUBLISH }
	:: d_step { keeper == PUBLISH ->
				worker = 1 - worker; keeper = OPEN }
	:: d_step { keeper == OPEN ->
				tick = NEXT_MS(last); last = 0; keeper = OPENED }

	/* What is prepared is found by its lock, unless it was remembered since. */
	:: d_step { !prepared_known ->
				if
				:: entry_xid == 0 -> entry_xid = prepared_xid; entry_first = prepared_first
				:: else
				fi;
				prepared_known = 1 }
	od
}

/* ---- A crash.  The server finds what is prepared, and the mark. ---- */

active proctype World() provided (at != ALL_READ)
{
	do
	:: d_step { CRASH && changes < CHANGES ->
				last = (tick == CLOSED -> last : tick);
				tick = CLOSED; worker = 0; closed_at = 0; changes++; keeper = PUBLISH;
				forget_ended(); ring_lock = 0;
				entry_xid = 0; entry_first = 0; prepared_known = 0; late_xid = 0; late_first = 0;
				latest = next_xid - 1;
				running = (prepared_xid == 0 -> 0 : BIT(prepared_xid));
				RESET_BACKEND(0); backend[0].first = NONE;
				RESET_BACKEND(1); backend[1].first = NONE;
				RESET_READER }
	od
}

/* ---- The reader: see horizon.cpp. ---- */

#define FIRST_LOOK		(BROKEN(NEWEST_LATE) -> ANNOUNCED : NEWEST)
#define AFTER_NEWEST \
	(BROKEN(NEWEST_LATE) || BROKEN(PREPARED_FIRST) -> PREPARED : (BROKEN(RING_FIRST) -> RING : ANNOUNCED))
#define AFTER_ANNOUNCED \
	(BROKEN(NEWEST_LATE) -> NEWEST : \
	(BROKEN(PREPARED_FIRST) || BROKEN(RING_BEFORE_PREPARED) -> RING : PREPARED))
#define AFTER_PREPARED \
	(BROKEN(PREPARED_FIRST) -> ANNOUNCED : \
	(BROKEN(RING_FIRST) || BROKEN(RING_BEFORE_PREPARED) -> ALL_READ : RING))
#define AFTER_RING \
	(BROKEN(RING_FIRST) -> ANNOUNCED : (BROKEN(RING_BEFORE_PREPARED) -> PREPARED : ALL_READ))

#define NOBODY(i)		(backend[i].at == IDLE && backend[i].id == NONE)

#define IS_AFTER(its_latest) \
	((its_latest) < xmax - 1 || (BROKEN(STOP_AT_EQUAL) && (its_latest) == xmax - 1))

#define LOOK(i) \
	:: d_step { at == ANNOUNCED && !backend[i].looked -> \
				horizon = MIN(horizon, backend[i].first - 1); backend[i].looked = 1; \
				if \
				:: backend[1 - i].looked -> \
					backend[0].looked = 0; backend[1].looked = 0; at = AFTER_ANNOUNCED \
				:: else \
				fi; \
				sort() }

inline walk()
{
	i = ended;
	do
	:: i == 0 || IS_AFTER(ended_latest[i - 1]) -> break
	:: else ->
		i--;
		if
		:: !SEES(ended_xid[i]) -> horizon = MIN(horizon, ended_first[i] - 1)
		:: else ->
			if
			:: BROKEN(STOP_AT_SEEN) -> break
			:: else
			fi
		fi
	od;
	i = 0
}

byte	i;

active proctype Reader()
{
	do
	:: d_step { at == IDLE && (prepared_known || BROKEN(KNOWN_LATE)) ->
				xmax = latest + 1; xip = running & (BIT(xmax) - 1);
				horizon = NONE; least = NONE;
				quiet = NOBODY(0) && NOBODY(1) && prepared_xid == 0 && keeper != LEAVE &&
						(!CRASH || tick != CLOSED);
				at = FIRST_LOOK }

	:: d_step { at == NEWEST && prepared_known && !BY_STEPS ->
				horizon = MIN(horizon, NEWEST_ID); at = AFTER_NEWEST }
	:: d_step { at == NEWEST && prepared_known && BY_STEPS ->
				rw = worker; at = OPEN_READ }
	:: d_step { at == OPEN_READ ->
				if
				:: tick == CLOSED -> rw = 0; at = CLOSED_READ
				:: else -> rt = tick; at = TICK_READ
				fi }
	:: d_step { at == CLOSED_READ ->
				horizon = MIN(horizon, closed_at); at = AFTER_NEWEST }
	:: d_step { at == TICK_READ ->
				if
				:: rw == worker || BROKEN(ONE_LOOK) ->
					horizon = MIN(horizon, ID(rw, rt)); at = AFTER_NEWEST
				:: else -> at = NEWEST
				fi;
				rw = 0; rt = 0 }

	LOOK(0)
	LOOK(1)

	:: d_step { at == PREPARED && !(BROKEN(REUSE_FIRST) && late_xid != 0) ->
				if
				:: entry_xid != 0 && (!SEES(entry_xid) || BROKEN(COUNT_SEEN)) &&
				   (RUNS(entry_xid) || !BROKEN(PREPARED_NOW)) ->
					horizon = MIN(horizon, entry_first - 1)
				:: else
				fi;
				at = AFTER_PREPARED }

	:: d_step { at == RING ->
				if
				:: BROKEN(NO_RING)
				:: else -> walk()
				fi;
				at = AFTER_RING }

	:: d_step { at == ALL_READ ->
				CHECK; forget_ended(); RESET_READER }
	od
}
