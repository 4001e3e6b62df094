// Package provider describes the Terraform provider to the bridge: which token and which names each of its resources has.
package provider

import (
	"strings"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/terraform-provider-openstack/terraform-provider-openstack/openstack"
)

const (
	prefix = "openstack_"
	// The longest name OpenStack takes nearly everywhere.
	maxName = 255
)

// Info returns what the bridge has to know.
func Info(version string) tfbridge.ProviderInfo {
	terraform := openstack.Provider()
	// Its own default counts as a use of what is deprecated, so that each plan began with a warning nobody can mend.
	terraform.Schema["use_octavia"].Deprecated = ""
	upstream := shim.NewProvider(terraform)
	info := tfbridge.ProviderInfo{
		P:           upstream,
		Name:        "openstack",
		Version:     version,
		DisplayName: "OpenStack",
		Description: "Creates and manages OpenStack cloud resources.",
		Keywords:    []string{"pulumi", "openstack"},
		License:     "Apache-2.0",
		GitHubOrg:   "terraform-provider-openstack",
		Config:      config(),
		Resources:   make(map[string]*tfbridge.ResourceInfo, len(resources)),
		DataSources: make(map[string]*tfbridge.DataSourceInfo, len(functions)),
	}
	for name, place := range resources {
		resource := &tfbridge.ResourceInfo{Tok: tokens.Type(token(place)), Fields: fields[name]}
		if resource.Fields == nil {
			resource.Fields = map[string]*tfbridge.SchemaInfo{}
		}
		if field, ok := upstream.ResourcesMap().Get(prefix + name).Schema().GetOk("name"); ok && (field.Optional() || field.Required()) {
			resource.Fields["name"] = tfbridge.AutoName("name", maxName, "-")
		}
		info.Resources[prefix+name] = resource
	}
	for name, place := range functions {
		info.DataSources[prefix+name] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember(token(place))}
	}
	return info
}

// token makes "openstack:module/name:Name" of "module.Name".
func token(place string) string {
	module, name, _ := strings.Cut(place, ".")
	return "openstack:" + module + "/" + strings.ToLower(name[:1]) + name[1:] + ":" + name
}

// config gives each setting of the provider that the usual variables can give, in the order in which they are looked at.
func config() map[string]*tfbridge.SchemaInfo {
	variables := map[string][]string{
		"allow_reauth":  {"OS_ALLOW_REAUTH"},
		"cloud":         {"OS_CLOUD"},
		"delayed_auth":  {"OS_DELAYED_AUTH"},
		"endpoint_type": {"OS_ENDPOINT_TYPE"},
		"insecure":      {"OS_INSECURE"},
		"region":        {"OS_REGION_NAME"},
		"swauth":        {"OS_SWAUTH"},
		"use_octavia":   {"OS_USE_OCTAVIA"},
	}
	settings := make(map[string]*tfbridge.SchemaInfo, len(variables))
	for name, names := range variables {
		settings[name] = &tfbridge.SchemaInfo{Default: &tfbridge.DefaultInfo{EnvVars: names}}
	}
	return settings
}

// fields has the properties whose names the bridge would not make by itself.
var fields = map[string]map[string]*tfbridge.SchemaInfo{
	"orchestration_stack_v1": {"outputs": {Name: "StackOutputs"}},
	"networking_subnet_v2": {
		"allocation_pool":  {Name: "allocationPools"},
		"allocation_pools": {Name: "allocationPoolsCollection"},
	},
}
