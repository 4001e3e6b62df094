// Command pulumi-resource-libvirt is the Terraform provider for libvirt behind Pulumi's bridge, with the tokens of the npm package
// @pulumi/libvirt, which is no longer published.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"openstack-ha/toolchain/plugin-libvirt/provider"
)

// Set by the linker.
var version = "0.0.0"

func main() {
	schema, err := schemaBeside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-libvirt:", err)
		os.Exit(1)
	}
	tfbridge.Main("libvirt", version, provider.Info(version), schema)
}

// schemaBeside reads the schema from the folder of the executable. It is not embedded, because it is made when the plugin is built
// and has no place among the sources.
func schemaBeside() ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(filepath.Dir(self), "schema.json"))
}
