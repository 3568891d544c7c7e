// SPDX-License-Identifier: LGPL-2.1-or-later

// Goroutines, channels and the garbage collector; the main one writes what arrives to a growing file.
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

func main() {
	numbers := make(chan int, 2)
	go func() {
		for n := 1; ; n++ {
			numbers <- n
			time.Sleep(2 * time.Millisecond)
		}
	}()
	for i := 0; i < 4; i++ {
		go func() {
			for {
				m := map[int]string{}
				for k := 0; k < 1000; k++ {
					m[k] = fmt.Sprint(k)
				}
				if m[500] != "500" {
					os.Exit(3)
				}
				runtime.Gosched()
			}
		}()
	}
	out, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	for n := range numbers {
		fmt.Fprintln(out, n)
	}
}
