package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Hosts are names, apart from localhost, that a server of one machine is asked for by. The zero value has none.
type Hosts []string

// Allow reports whether host, as a request has it in Host, is an address, localhost, a name below it, or one of h. Any
// other name may be a stranger's, made to resolve to this machine after their page was loaded (DNS rebinding): to a
// browser that page and this server are then of one origin. An address cannot be made to mean another machine.
func (h Hosts) Allow(host string) bool {
	name := strings.TrimSuffix(strings.ToLower(HostName(host)), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		slices.ContainsFunc(h, func(own string) bool { return name != "" && strings.EqualFold(own, name) })
}

// HostName returns host without its port and brackets.
func HostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// FromElsewhere reports whether a page of another site asks, other than by leading a person here.
func FromElsewhere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if site == "" || site == "same-origin" || site == "none" {
		return false
	}
	return r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" ||
		r.Header.Get("Sec-Fetch-Dest") != "document"
}
