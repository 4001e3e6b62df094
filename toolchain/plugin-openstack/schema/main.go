// Command schema writes the schema of the plugin to a file.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfgen"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"

	"openstack-ha/toolchain/plugin-openstack/provider"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: schema DIR VERSION")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func write(dir, version string) error {
	result, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo:    provider.Info(version),
		DiagnosticsSink: diag.DefaultSink(io.Discard, os.Stderr, diag.FormatOptions{Color: colors.Never}),
		// The documentation is in another repository, and of no use at run time.
		XInMemoryDocs: true,
	})
	if err != nil {
		return err
	}
	result.PackageSpec.Version = version
	schema, err := json.Marshal(result.PackageSpec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "schema.json"), schema, 0o644)
}
