//go:build !linux

package local

import "os"

func terminate(process *os.Process) []int {
	_ = process.Kill()
	return nil
}

func kill([]int) {}
