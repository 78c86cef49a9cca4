// River, with the settings of its own benchmark, on an empty database in DATABASE_URL: `throughput SECONDS CLIENTS` or
// `latency SAMPLES`. Prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// Jobs that wait or run at a time at most.
	waiting = 1000
	warmUp  = 2 * time.Second
)

type args struct {
	Number int64 `json:"number"`
}

func (args) Kind() string { return "bench" }

type worker struct {
	river.WorkerDefaults[args]
	started func()
}

func (w *worker) Work(context.Context, *river.Job[args]) error {
	w.started()
	return nil
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

type bench struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	room   chan struct{}
	starts chan time.Time
	jobs   atomic.Int64
}

func main() {
	ctx := context.Background()
	config := must(pgxpool.ParseConfig(os.Getenv("DATABASE_URL")))
	config.MaxConns = 50
	b := &bench{pool: must(pgxpool.NewWithConfig(ctx, config)), room: make(chan struct{}, waiting), starts: make(chan time.Time, waiting)}
	driver := riverpgxv5.New(b.pool)
	must(must(rivermigrate.New(driver, nil)).Migrate(ctx, rivermigrate.DirectionUp, nil))
	scenario, number := os.Args[1], must(strconv.Atoi(os.Args[2]))
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{started: func() {
		if scenario == "latency" {
			b.starts <- time.Now()
		} else {
			<-b.room
		}
	}})
	b.client = must(river.NewClient(driver, &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.DiscardHandler),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2_000}},
		Workers:           workers,
	}))
	if err := b.client.Start(ctx); err != nil {
		panic(err)
	}
	var result any
	if scenario == "latency" {
		result = b.latency(ctx, number)
	} else {
		clients := must(strconv.Atoi(os.Args[3]))
		b.throughput(ctx, warmUp, clients)
		result = b.throughput(ctx, time.Duration(number)*time.Second, clients)
	}
	fmt.Println(string(must(json.Marshal(result))))
	if err := b.client.StopAndCancel(ctx); err != nil {
		panic(err)
	}
}

func (b *bench) enqueue(ctx context.Context) {
	must(b.client.Insert(ctx, args{Number: b.jobs.Add(1)}, nil))
}

func (b *bench) throughput(ctx context.Context, lasts time.Duration, clients int) any {
	began, before := time.Now(), b.jobs.Load()
	var done sync.WaitGroup
	for range clients {
		done.Go(func() {
			for time.Since(began) < lasts {
				b.room <- struct{}{}
				b.enqueue(ctx)
			}
		})
	}
	done.Wait()
	for {
		var left int64
		count := "SELECT count(*) FROM river_job WHERE state <> 'completed'"
		if err := b.pool.QueryRow(ctx, count).Scan(&left); err != nil {
			panic(err)
		}
		if left == 0 {
			return map[string]any{"jobs": b.jobs.Load() - before, "seconds": time.Since(began).Seconds()}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (b *bench) latency(ctx context.Context, samples int) any {
	var times []float64
	time.Sleep(time.Second)
	for range samples {
		time.Sleep(time.Duration(20+rand.IntN(40)) * time.Millisecond)
		began := time.Now()
		b.enqueue(ctx)
		start := <-b.starts
		times = append(times, start.Sub(began).Seconds()*1000)
	}
	return map[string]any{"milliseconds": times}
}
