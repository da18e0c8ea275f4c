package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// readHTTP reads where the servers listen, and whom they believe.
func readHTTP(r *reader) HTTP {
	h := HTTP{
		Host:         unbracketed(r.text("HOST")),
		AppPort:      r.integer("APP_PORT", 0, maxPort),
		ConsumerPort: r.integer("CONSUMER_PORT", 0, maxPort),
		Origins: list(r, "CORS_ORIGINS", parseOrigin,
			"write each as browsers do: https://app.smap.example, with :PORT where it is not the usual one, without path and *"),
		Proxies: proxies(r),
	}
	if r.role.uses("INTERNAL_PORT") && r.text("INTERNAL_PORT") != "" {
		h.InternalPort = new(r.integer("INTERNAL_PORT", 0, maxPort))
	}
	local := slices.Contains([]string{"development", "test"}, strings.ToLower(r.text("ENV")))
	h.LocalOrigins = local && r.role.uses("CORS_ORIGINS") && r.text("CORS_ORIGINS") == ""
	return h
}

// insideRanges are the addresses that no client on the internet has: loopback, link-local and private ones (RFC 1122, 1918,
// 3927, 4193 and 4291).
var insideRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// proxies returns whose word about a client counts: unset, everybody's inside; "none", nobody's.
func proxies(r *reader) []netip.Prefix {
	if !r.role.uses("TRUSTED_PROXIES") {
		return nil
	}
	switch r.text("TRUSTED_PROXIES") {
	case "":
		return insideRanges
	case "none":
		return nil
	}
	return list(r, "TRUSTED_PROXIES", parseProxy, "write none, or each as an address or a range, 10.0.3.7 or 10.0.0.0/16")
}

// list returns the entries of a variable, separated by commas, each once. It names the first that parse rejects by its
// number, not by its text: that may hold a password.
func list[T comparable](r *reader, name string, parse func(entry string) (T, bool), fix string) (values []T) {
	text := r.text(name)
	if text == "" {
		return nil
	}
	for i, entry := range strings.Split(text, ",") {
		value, ok := parse(strings.TrimSpace(entry))
		if !ok {
			r.wrong(name, fmt.Sprintf("has an entry, number %d, that is not valid", i+1), fix)
			return nil
		}
		if !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// hostName is what browsers make of a name: lower case, other scripts as punycode.
var hostName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$`)

// parseOrigin returns an origin as browsers write it, in lower case and without the scheme's own port. Anything else than
// scheme, host and port is no origin; what a browser would write in another way would never match.
func parseOrigin(entry string) (origin string, ok bool) {
	entry = strings.ToLower(entry)
	u, err := url.Parse(entry)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	host := u.Hostname()
	switch address, err := netip.ParseAddr(host); {
	case err == nil && address.String() == host && address.Zone() == "":
	case err != nil && hostName.MatchString(host) && !endsInNumber(host):
	default:
		return "", false
	}
	origin = strings.TrimSuffix(entry, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0 || strconv.FormatUint(n, 10) != port) {
		return "", false
	}
	return origin, entry == u.Scheme+"://"+u.Host && !strings.HasSuffix(entry, ":")
}

// endsInNumber reports whether browsers take host for an IPv4 address, which they write as four decimal numbers.
func endsInNumber(host string) bool {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	_, err := strconv.ParseUint(labels[len(labels)-1], 0, 64)
	return err == nil
}

// parseProxy returns an address or a range of them as a range. One of all addresses would let everybody choose theirs.
func parseProxy(entry string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(entry)
	if address, addressErr := netip.ParseAddr(entry); addressErr == nil {
		prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), err == nil && prefix.Bits() > 0
}
