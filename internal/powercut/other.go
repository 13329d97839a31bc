//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "powercut: needs Linux, for its loop devices")
	os.Exit(1)
}
