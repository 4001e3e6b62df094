// Command pulumi-resource-command is a stand-in for the official Pulumi "command" plugin, version 1.2.1, for machines that cannot
// download it. It keeps the official contract (tokens, properties, state, rules for update and replacement, error texts), so a
// stack can be moved between the two at any time.
package main

import (
	"context"
	"fmt"
	"os"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/middleware/schema"

	"openstack-ha/toolchain/plugin-command/local"
	"openstack-ha/toolchain/plugin-command/remote"
)

const (
	name    = "command"
	version = "1.2.1"
)

func provider() p.Provider {
	return infer.Provider(infer.Options{
		Metadata: schema.Metadata{
			DisplayName: "Command",
			Description: "Runs commands and scripts, locally or over SSH, as Pulumi resources.",
			Keywords:    []string{"pulumi", "command", "category/utility", "kind/native"},
			License:     "Apache-2.0",
			LanguageMap: map[string]any{"nodejs": map[string]any{"respectSchemaVersion": true}},
		},
		Resources: []infer.InferredResource{
			infer.Resource(local.Command{}),
			infer.Resource(remote.Command{}),
			infer.Resource(remote.CopyToRemote{}),
			infer.Resource(remote.CopyFile{}),
		},
		Functions: []infer.InferredFunction{infer.Function(local.Run{})},
	})
}

func main() {
	go exitWithParent()
	if err := p.RunProvider(context.Background(), name, version, provider()); err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-command:", err)
		os.Exit(1)
	}
}
