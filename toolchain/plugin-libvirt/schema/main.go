// Command schema writes the schema of the plugin, or an SDK for it.
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
	"github.com/spf13/afero"

	"openstack-ha/toolchain/plugin-libvirt/provider"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3:
		err = writeSchema(os.Args[1], os.Args[2])
	case len(os.Args) == 4 && os.Args[3] == "nodejs":
		err = writeSDK(os.Args[1], os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: schema DIR VERSION [nodejs]")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func sink() diag.Sink {
	return diag.DefaultSink(io.Discard, os.Stderr, diag.FormatOptions{Color: colors.Never})
}

func writeSchema(dir, version string) error {
	result, err := tfgen.GenerateSchemaWithOptions(tfgen.GenerateSchemaOptions{
		ProviderInfo:    provider.Info(version),
		DiagnosticsSink: sink(),
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

func writeSDK(dir, version string) error {
	generator, err := tfgen.NewGenerator(tfgen.GeneratorOptions{
		Package:       "libvirt",
		Version:       version,
		Language:      tfgen.NodeJS,
		ProviderInfo:  provider.Info(version),
		Root:          afero.NewBasePathFs(afero.NewOsFs(), dir),
		Sink:          sink(),
		SkipDocs:      true,
		SkipExamples:  true,
		XInMemoryDocs: true,
	})
	if err != nil {
		return err
	}
	_, err = generator.Generate()
	return err
}
