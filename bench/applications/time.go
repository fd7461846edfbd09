// Times the generator for Go, as time.py does.
package main

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"time"

	_ "github.com/jackc/pgx/v4/stdlib"

	"snowflakes"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	rounds, err := strconv.Atoi(os.Args[2])
	check(err)
	n, err := strconv.Atoi(os.Args[3])
	check(err)
	db, err := sql.Open("pgx", os.Args[1])
	check(err)
	ids, err := snowflakes.New(db, "bench Go", time.Hour)
	check(err)
	for ; rounds > 0; rounds-- {
		start := time.Now()
		for i := 0; i < n; i++ {
			_, err = ids.Next()
			check(err)
		}
		fmt.Printf("Go, Next()\t%f\n", float64(time.Since(start))/float64(n))
		start = time.Now()
		_, err = ids.NextMany(n)
		check(err)
		fmt.Printf("Go, NextMany()\t%f\n", float64(time.Since(start))/float64(n))
	}
	ids.Close()
}
