package local

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/gobwas/glob"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"openstack-ha/toolchain/plugin-command/capture"
)

// How long a cancelled command has to end by itself, and then how long to wait for the end of a killed one.
const (
	graceOnCancel = 2 * time.Second
	graceOnKill   = time.Second
)

func run(ctx context.Context, command string, in BaseInputs, out *BaseOutputs) error {
	args := []string{"/bin/sh", "-c"}
	if runtime.GOOS == "windows" {
		args = []string{"cmd", "/C"}
	}
	if in.Interpreter != nil && len(*in.Interpreter) > 0 {
		args = append([]string{}, *in.Interpreter...)
	}
	args = append(args, command)

	dir, err := os.Getwd()
	if in.Dir != nil {
		dir, err = *in.Dir, nil
	}
	if err != nil {
		return err
	}

	// Not CommandContext: it kills the shell alone and then waits for its children, which keep the pipes open.
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = environment(in, out)
	if in.Stdin != nil && *in.Stdin != "" {
		cmd.Stdin = strings.NewReader(*in.Stdin)
	}
	logging := capture.Logging[Logging]{Value: in.Logging}
	var output capture.Output
	cmd.Stdout, cmd.Stderr = output.Writers(ctx, logging.Stdout(), logging.Stderr())
	err = start(ctx, cmd)
	output.Flush()
	if err != nil {
		return output.Error(err, command)
	}

	if in.AssetPaths != nil {
		assets, err := find(dir, *in.AssetPaths)
		if err != nil {
			return err
		}
		found := make(map[string]types.AssetOrArchive, len(assets))
		for name, asset := range assets {
			found[name] = types.AssetOrArchive{Asset: asset}
		}
		out.Assets = &found
	}
	if in.ArchivePaths != nil {
		assets, err := find(dir, *in.ArchivePaths)
		if err != nil {
			return err
		}
		members := make(map[string]any, len(assets))
		for name, asset := range assets {
			members[name] = asset
		}
		if out.Archive, err = resource.NewAssetArchive(members); err != nil {
			return err
		}
	}
	out.Stdout, out.Stderr = output.Stdout(), output.Stderr()
	return nil
}

// start runs a command to its end. A cancellation ends the command with all its descendants.
func start(ctx context.Context, cmd *exec.Cmd) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	tree := terminate(cmd.Process)
	select {
	case <-done:
	case <-time.After(graceOnCancel):
	}
	kill(tree)
	select {
	case <-done:
	case <-time.After(graceOnKill):
	}
	return ctx.Err()
}

func environment(in BaseInputs, out *BaseOutputs) []string {
	env := os.Environ()
	for name, value := range in.Environment {
		env = append(env, name+"="+value)
	}
	if in.AddPreviousOutputInEnv == nil || *in.AddPreviousOutputInEnv {
		if out.Stdout != "" {
			env = append(env, capture.StdoutVar+"="+out.Stdout)
		}
		if out.Stderr != "" {
			env = append(env, capture.StderrVar+"="+out.Stderr)
		}
	}
	return env
}

// find returns the files below dir that the patterns select. They are applied in order; one that starts with "!" excludes.
func find(dir string, patterns []string) (map[string]*resource.Asset, error) {
	type rule struct {
		glob.Glob
		exclude bool
	}
	rules := make([]rule, len(patterns))
	for i, pattern := range patterns {
		pattern, exclude := strings.CutPrefix(pattern, "!")
		compiled, err := glob.Compile(pattern, '/')
		if err != nil {
			return nil, err
		}
		rules[i] = rule{compiled, exclude}
	}
	found := map[string]*resource.Asset{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		selected := false
		for _, rule := range rules {
			if rule.Match(name) {
				selected = !rule.exclude
			}
		}
		if selected {
			found[name], err = resource.NewPathAsset(path.Join(dir, name))
		}
		return err
	})
	return found, err
}
