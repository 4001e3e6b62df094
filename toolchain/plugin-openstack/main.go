// Command pulumi-resource-openstack is a stand-in for the official Pulumi "openstack" plugin, for machines that cannot download it.
// Like the official one it is the Terraform provider of that name behind Pulumi's bridge, with the names of the npm SDK.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"openstack-ha/toolchain/plugin-openstack/provider"
)

// Set by the linker.
var version = "0.0.0"

func main() {
	schema, err := schemaBeside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-openstack:", err)
		os.Exit(1)
	}
	tfbridge.Main("openstack", version, provider.Info(version), schema)
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
