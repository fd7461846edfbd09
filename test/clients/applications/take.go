// Takes IDs until SIGTERM, as take.py does, but without a fork: a Go program cannot.
package main

import (
	"database/sql"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v4/stdlib"

	"snowflakes"
)

var refused int64

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func take(ids *snowflakes.Snowflakes, name string, pause time.Duration, stop *int32) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0600)
	check(err)
	for turn := 0; atomic.LoadInt32(stop) == 0; turn++ {
		var many []int64
		var err error
		if turn%2 == 1 {
			many, err = ids.NextMany(20)
		} else {
			for i := 0; i < 20 && err == nil; i++ {
				var id int64
				if id, err = ids.Next(); err == nil {
					many = append(many, id)
				}
			}
		}
		if err != nil {
			atomic.AddInt64(&refused, 1)
		}
		var lines strings.Builder
		for _, id := range many {
			fmt.Fprintf(&lines, "%d\n", id)
		}
		_, err = file.WriteString(lines.String())
		check(err)
		time.Sleep(pause)
	}
}

func main() {
	name, holder := os.Args[1], os.Args[2]
	seconds, threads := number(os.Args[3]), number(os.Args[4])
	pause := time.Duration(number(os.Args[5])) * time.Millisecond
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	parent := os.Getppid()

	db, err := sql.Open("pgx", fmt.Sprintf("application_name='%s'", holder))
	check(err)
	ids, err := snowflakes.New(db, holder, time.Duration(seconds)*time.Second)
	for err != nil && len(ended) == 0 {
		refused++
		time.Sleep(200 * time.Millisecond)
		ids, err = snowflakes.New(db, holder, time.Duration(seconds)*time.Second)
	}
	if err != nil {
		return
	}

	var stop int32
	var workers sync.WaitGroup
	for i := 0; i < threads; i++ {
		workers.Add(1)
		go func(i int) {
			defer workers.Done()
			take(ids, fmt.Sprintf("%s.%d", name, i), pause, &stop)
		}(i)
	}
	for os.Getppid() == parent && len(ended) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	atomic.StoreInt32(&stop, 1)
	workers.Wait()
	ids.Close()
	fmt.Printf("refused %d\n", refused)
}
