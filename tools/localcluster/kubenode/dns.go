package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

// serveDNS runs CoreDNS with the few plugins a cluster without a way out needs.
//
// The stock plugin list also brings the clients of three clouds; leaving them
// out keeps the module at the versions Kubernetes itself asks for. The order is
// the order in which a query passes the plugins, the one CoreDNS ships with.
func serveDNS() {
	dnsserver.Directives = []string{
		"bind", "ready", "errors", "cache", "loadbalance", "template", "kubernetes",
	}
	coremain.Run()
}
