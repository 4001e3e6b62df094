package local

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The command stays in the process group of the plugin, so that the engine ends it when it ends the plugin. That leaves no group
// to signal on a cancellation; the descendants are looked up instead.

func terminate(process *os.Process) []int {
	tree := descendants(process.Pid)
	for _, pid := range tree {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	return tree
}

// kill ends what is left of a tree, and what that has started since.
func kill(tree []int) {
	for _, root := range tree {
		for _, pid := range descendants(root) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// descendants returns a process and all below it, parents first.
func descendants(root int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	alive := false
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// "pid (name) state ppid ...", where the name may hold spaces and parentheses.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
		alive = alive || pid == root
	}
	if !alive {
		return nil
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree
}
