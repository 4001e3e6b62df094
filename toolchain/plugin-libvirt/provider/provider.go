// Package provider describes the Terraform provider to the bridge: which token and which names each of its resources has.
package provider

import (
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

const maxName = 255

var resources = map[string]string{
	"libvirt_cloudinit_disk": "cloudInitDisk:CloudInitDisk",
	"libvirt_combustion":     "combustion:Combustion",
	"libvirt_domain":         "domain:Domain",
	"libvirt_ignition":       "ignition:Ignition",
	"libvirt_network":        "network:Network",
	"libvirt_pool":           "pool:Pool",
	"libvirt_volume":         "volume:Volume",
}

var functions = map[string]string{
	"libvirt_network_dns_host_template":        "getNetworkDnsHostTemplate",
	"libvirt_network_dns_srv_template":         "getNetworkDnsSrvTemplate",
	"libvirt_network_dnsmasq_options_template": "getNetworkDnsMasqOptionsTemplate",
	"libvirt_node_device_info":                 "getNodeDeviceInfo",
	"libvirt_node_devices":                     "getNodeDevices",
	"libvirt_node_info":                        "getNodeInfo",
}

// Info returns what the bridge has to know.
func Info(version string) tfbridge.ProviderInfo {
	upstream := shim.NewProvider(libvirt.Provider())
	info := tfbridge.ProviderInfo{
		P:           upstream,
		Name:        "libvirt",
		Version:     version,
		DisplayName: "libvirt",
		Description: "Creates and manages libvirt resources.",
		Keywords:    []string{"pulumi", "libvirt"},
		License:     "Apache-2.0",
		GitHubOrg:   "dmacvicar",
		Config: map[string]*tfbridge.SchemaInfo{
			"uri": {Default: &tfbridge.DefaultInfo{EnvVars: []string{"LIBVIRT_DEFAULT_URI"}}},
		},
		Resources:   make(map[string]*tfbridge.ResourceInfo, len(resources)),
		DataSources: make(map[string]*tfbridge.DataSourceInfo, len(functions)),
		JavaScript: &tfbridge.JavaScriptInfo{
			PackageName:          "@pulumi/libvirt",
			Dependencies:         map[string]string{"@pulumi/pulumi": "^3.250.0"},
			DevDependencies:      map[string]string{"@types/node": "^20", "typescript": "^5"},
			RespectSchemaVersion: true,
		},
	}
	for name, token := range resources {
		resource := &tfbridge.ResourceInfo{Tok: tokens.Type("libvirt:index/" + token)}
		if _, ok := upstream.ResourcesMap().Get(name).Schema().GetOk("name"); ok {
			resource.Fields = map[string]*tfbridge.SchemaInfo{"name": tfbridge.AutoName("name", maxName, "-")}
		}
		info.Resources[name] = resource
	}
	for name, function := range functions {
		info.DataSources[name] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember("libvirt:index/" + function + ":" + function)}
	}
	return info
}
