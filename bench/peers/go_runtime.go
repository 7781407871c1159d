// SPDX-License-Identifier: BSD-3-Clause
//
// bench/peers/go_runtime.go: Go's goroutines, channels, mutexes and timers, on one thread.
//
// GOMAXPROCS is 1: a channel between two threads costs a hundred times as much. Everything pays for
// being safe between threads all the same. Called as bench/peers/peer.h says.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type operation struct {
	name  string
	run   func(n, arg int) time.Duration
	arg   int
	count int
}

func taskYield(n, tasks int) time.Duration {
	var ended sync.WaitGroup
	ended.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for k := 0; k < n/tasks; k++ {
				runtime.Gosched()
			}
			ended.Done()
		}()
	}
	begin := time.Now()
	ended.Wait()
	return time.Since(begin)
}

func spawnAwait(n, together int) time.Duration {
	var ended sync.WaitGroup
	begin := time.Now()
	for done := 0; done < n; done += together {
		ended.Add(together)
		for i := 0; i < together; i++ {
			go func() { ended.Done() }()
		}
		ended.Wait()
	}
	return time.Since(begin)
}

func queuePingPong(n, _ int) time.Duration {
	there, back := make(chan int, 1), make(chan int, 1)
	go func() {
		for i := 0; i < n/2; i++ {
			back <- <-there
		}
	}()
	begin := time.Now()
	for i := 0; i < n/2; i++ {
		there <- i
		<-back
	}
	return time.Since(begin)
}

func queueOneWay(n, capacity int) time.Duration {
	there, ended := make(chan int, capacity), make(chan int)
	go func() {
		for i := 0; i < n; i++ {
			<-there
		}
		close(ended)
	}()
	begin := time.Now()
	for i := 0; i < n; i++ {
		there <- i
	}
	<-ended
	return time.Since(begin)
}

func lockUncontended(n, _ int) time.Duration {
	var lock sync.Mutex
	begin := time.Now()
	for i := 0; i < n; i++ {
		lock.Lock()
		lock.Unlock()
	}
	return time.Since(begin)
}

func lockContended(n, tasks int) time.Duration {
	var lock sync.Mutex
	var ended sync.WaitGroup
	ended.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for k := 0; k < n/tasks; k++ {
				lock.Lock()
				runtime.Gosched()
				lock.Unlock()
			}
			ended.Done()
		}()
	}
	begin := time.Now()
	ended.Wait()
	return time.Since(begin)
}

// A channel of two places is Go's semaphore of two.
func semaphoreUncontended(n, _ int) time.Duration {
	semaphore := make(chan struct{}, 2)
	begin := time.Now()
	for i := 0; i < n; i++ {
		semaphore <- struct{}{}
		<-semaphore
	}
	return time.Since(begin)
}

func selectTwo(n, _ int) time.Duration {
	there, stop := make(chan int, 1), make(chan int)
	go func() {
		for i := 0; i < n; i++ {
			there <- i
		}
	}()
	begin := time.Now()
	for i := 0; i < n; i++ {
		select {
		case <-there:
		case <-stop:
			panic("stopped")
		}
	}
	return time.Since(begin)
}

func timeoutBeginEnd(n, _ int) time.Duration {
	background := context.Background()
	begin := time.Now()
	for i := 0; i < n; i++ {
		_, cancel := context.WithTimeout(background, 5*time.Second)
		cancel()
	}
	return time.Since(begin)
}

func randomSpan() time.Duration {
	return time.Second + time.Duration(rand.Int63n(int64(60*time.Second)))
}

func timerArmCancel(n, outstanding int) time.Duration {
	others := make([]*time.Timer, outstanding)
	probes := make([]*time.Timer, 32)
	spans := make([]time.Duration, 4096)
	for i := range others {
		others[i] = time.NewTimer(randomSpan())
	}
	for i := range spans {
		spans[i] = randomSpan()
	}
	for i := range probes {
		probes[i] = time.NewTimer(time.Hour)
		probes[i].Stop()
	}
	begin := time.Now()
	for i := 0; i < n; i++ {
		t := probes[i%len(probes)]
		t.Reset(spans[i%len(spans)])
		t.Stop()
	}
	elapsed := time.Since(begin)
	runtime.KeepAlive(others)
	return elapsed
}

var operations = []operation{
	{"task/yield/2", taskYield, 2, 100000},
	{"task/spawn_await", spawnAwait, 1, 100000},
	{"queue/ping_pong", queuePingPong, 0, 100000},
	{"queue/one_way/128", queueOneWay, 128, 100000},
	{"lock/uncontended", lockUncontended, 0, 100000},
	{"lock/contended/4", lockContended, 4, 100000},
	{"semaphore/uncontended", semaphoreUncontended, 0, 100000},
	{"gather/10", spawnAwait, 10, 100000},
	{"timeout/begin_end", timeoutBeginEnd, 0, 100000},
	{"select/2", selectTwo, 0, 100000},
	{"timer/arm_cancel/1000", timerArmCancel, 1000, 100000},
	{"timer/arm_cancel/1000000", timerArmCancel, 1000000, 100000},
}

func main() {
	runtime.GOMAXPROCS(1)
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("Go", runtime.Version())
		return
	}
	for _, o := range operations {
		if len(os.Args) < 3 {
			fmt.Println(o.name, o.count)
		} else if o.name == os.Args[1] {
			n, err := strconv.Atoi(os.Args[2])
			if err != nil {
				os.Exit(2)
			}
			fmt.Println(o.run(n, o.arg).Nanoseconds())
			return
		}
	}
}
