//go:build unix

package main

import (
	"os"
	"syscall"
	"time"
)

// exitWithParent ends the plugin, and the local commands that it runs, within a second of a violent death of the engine. The
// framework alone would notice only after minutes.
func exitWithParent() {
	parent := os.Getppid()
	if parent <= 1 {
		return
	}
	for os.Getppid() == parent {
		time.Sleep(500 * time.Millisecond)
	}
	// The engine starts each plugin as the leader of a process group, which local commands share.
	if syscall.Getpgrp() == os.Getpid() {
		_ = syscall.Kill(0, syscall.SIGKILL)
	}
	os.Exit(1)
}
