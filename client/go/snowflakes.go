// Package snowflakes makes snowflake IDs in an application, on a worker ID leased from
// a registry.
//
//	db, err := sql.Open("pgx", "host=registry.example dbname=registry")
//	ids, err := snowflakes.New(db, "orders-7f9c:8080", time.Minute)
//	id, err := ids.Next()           // an error when there is no lease
//	many, err := ids.NextMany(100)  // increasing IDs
//	ids.Close()                     // gives back what is left of the lease
//
// One object per process is enough; all goroutines may use it.  A goroutine renews the
// lease, and Next never waits for that.  Works with any driver whose errors have
// SQLState(), such as pgx and pq.  doc/applications.md has more.
package snowflakes

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand"
	"sync"
	"time"
)

const (
	patience   = 5 * time.Second        // for the answer of the registry
	leastPause = 500 * time.Millisecond // between two calls

	leaseSQL = `CALL snowflake_registry.lease(holder => $1, duration => $2::bigint * interval '1 ms',
		asker_now => timestamptz 'epoch' + $3::bigint * interval '1 ms')`
	renewSQL = `CALL snowflake_registry.renew(token => $1::uuid, duration => $2::bigint * interval '1 ms',
		asker_now => timestamptz 'epoch' + $3::bigint * interval '1 ms', registry => $4::uuid, attempt => $5::uuid)`
	releaseSQL = `SELECT snowflake_registry.release(token => $1::uuid,
		used_until => timestamptz 'epoch' + $2::bigint * interval '1 ms', attempt => nullif($3, '')::uuid)`
)

// ErrNoLease is what Next returns, together with the latest error of the registry.
var ErrNoLease = errors.New("no lease covers the ID")

// The system clock.
var clock = func() int64 { return time.Now().UnixMilli() }

// Times are in milliseconds since 1970.
type lease struct {
	worker, from, until, epoch int64
	shift, bits                int // of the time; of the sequence
	token, registry            string
}

// A tick is an ID without its worker ID.
func (l *lease) tick(ms int64) int64 { return (ms - l.epoch) << l.bits }
func (l *lease) ms(tick int64) int64 { return l.epoch + tick>>l.bits }
func (l *lease) id(tick int64) int64 {
	return tick>>l.bits<<l.shift | l.worker<<l.bits | tick&(1<<l.bits-1)
}

// Snowflakes makes IDs.
type Snowflakes struct {
	db       *sql.DB
	holder   string
	duration int64 // of a lease
	wake     chan struct{}
	stop     context.CancelFunc
	done     chan struct{}
	attempt  string // of the renewal whose answer has not come

	mutex sync.Mutex // guards the rest
	lease lease
	half  int64 // the tick from which on to renew
	last  int64 // the last tick
	err   error // why there is no other lease
}

// New takes a lease, and returns an error if it cannot.
func New(db *sql.DB, holder string, duration time.Duration) (*Snowflakes, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &Snowflakes{db: db, holder: holder, duration: duration.Milliseconds(), last: -1,
		wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	if s.renewOrLease(ctx); s.err != nil {
		stop()
		return nil, s.err
	}
	go s.renewForEver(ctx)
	return s, nil
}

// Next returns the next ID.
func (s *Snowflakes) Next() (int64, error) {
	first, lease, err := s.take(1)
	return lease.id(first), err
}

// NextMany returns n increasing IDs, or none and an error.
func (s *Snowflakes) NextMany(n int) ([]int64, error) {
	first, lease, err := s.take(int64(n))
	if err != nil {
		return nil, err
	}
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = lease.id(first + int64(i))
	}
	return ids, nil
}

// Rule 1: above the last ID, and before the end of the interval.  In a new millisecond
// the sequence continues, so that id % 16 spreads.
func (s *Snowflakes) take(n int64) (int64, lease, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	first := s.lease.tick(later(clock(), s.lease.from))
	if first <= s.last {
		first = s.last + 1
	} else {
		first |= (s.last + 1) & 63
	}
	end := first + n
	if end > s.half {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	if end > s.lease.tick(s.lease.until) {
		return 0, lease{}, fmt.Errorf("%w (worker ID %d; latest error: %v)", ErrNoLease, s.lease.worker, s.err)
	}
	s.last = end - 1
	return first, s.lease, nil
}

// Close returns when the rest of the lease has been given back, or cannot be.
func (s *Snowflakes) Close() {
	s.stop()
	<-s.done
	s.mutex.Lock()
	old, last := s.lease, s.last
	s.lease, s.err = lease{}, errors.New("closed")
	s.mutex.Unlock()
	// Rule 3: no more IDs, and then the millisecond after the last one.
	if old.token != "" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := s.db.ExecContext(ctx, releaseSQL, old.token, later(old.ms(last)+1, old.from), s.attempt)
		_ = err // the lease ends by itself
	}
}

// Rule 2: renews when half of the time is over, by the clock or by the last ID.
func (s *Snowflakes) renewForEver(ctx context.Context) {
	defer close(s.done)
	pause, failures := leastPause, 0
	for sleep(ctx, nil, pause) {
		if failures == 0 {
			s.mutex.Lock()
			left := s.lease.ms(s.half) - later(clock(), s.lease.ms(s.last))
			s.mutex.Unlock()
			if left > s.duration {
				left = s.duration // the clock was set back
			}
			if !sleep(ctx, s.wake, time.Duration(left)*time.Millisecond) {
				return
			}
		}
		if s.renewOrLease(ctx) {
			pause, failures = leastPause, 0
		} else if failures++; failures < 4 {
			pause = leastPause<<failures/2 + time.Duration(mathrand.Int63n(int64(leastPause<<failures/2)))
		}
	}
}

// False when the context has ended.
func sleep(ctx context.Context, wake chan struct{}, duration time.Duration) bool {
	select {
	case <-wake:
	case <-time.After(duration):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// An answer that is lost may have replaced the token.  The same renewal, with the same
// attempt, is repeated until there is an answer.  Nothing recognises the repetition of a
// lease: if that answer is lost, the worker ID is unused until its interval ends.
func (s *Snowflakes) renewOrLease(ctx context.Context) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var new lease
	var from, until, epoch time.Time
	var workerBits, idBits int
	var refused interface{ SQLState() string }
	now, old, known := later(clock(), s.lease.ms(s.last)), s.lease, s.lease.registry != ""
	s.mutex.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	if old.token != "" {
		if s.attempt == "" {
			s.attempt = newUUID()
		}
		err = s.db.QueryRowContext(ctx, renewSQL, old.token, s.duration, now, old.registry, s.attempt).Scan(
			&new.token, &new.registry, &new.worker, &from, &until, &workerBits, &epoch, &idBits)
		if errors.As(err, &refused) && refused.SQLState() == "SR001" {
			old.token = ""
		}
	}
	if old.token == "" {
		err = s.db.QueryRowContext(ctx, leaseSQL, s.holder, s.duration, now).Scan(
			&new.worker, &new.token, &from, &until, &workerBits, &epoch, &new.registry, &idBits)
	}
	new.from, new.until, new.epoch = from.UnixMilli(), until.UnixMilli(), epoch.UnixMilli()
	new.shift, new.bits = idBits-41, idBits-41-workerBits
	if err == nil && known && (new.registry != old.registry || new.epoch != old.epoch || new.shift != old.shift || new.bits != old.bits) {
		err = fmt.Errorf("this is another registry, or its layout has changed: %s", new.registry)
	}
	s.mutex.Lock()
	s.lease.token = old.token
	if s.err = err; err != nil {
		return false
	}
	s.attempt = ""
	if new.worker != old.worker {
		// The next ID may have a smaller worker ID, so it needs a greater time.
		s.last |= 1<<new.bits - 1
	}
	s.lease = new
	s.half = new.tick((later(now, new.from) + new.until) / 2)
	return true
}

func newUUID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", b)
}

func later(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}
