package config

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// parseNodes reads the URLs of the servers of one cluster, separated by commas, and returns each of them complete. The
// first one has its scheme, and the user and password. What only one says, of user and password, path and parameters,
// holds for all. What several say has to be the same; of the parameters the TLS name is each one's own.
//
// wrong is why the list cannot be used, without a word of it; it continues "VARIABLE …".
func parseNodes(text string, schemes ...string) (nodes []*url.URL, wrong string) {
	const notURL = "has a node that is no such URL"
	for i, entry := range strings.Split(text, ",") {
		switch {
		case entry == "":
			return nil, "has an empty place in its list of nodes"
		case strings.ContainsFunc(entry, unicode.IsSpace):
			return nil, "has white space in its list of nodes"
		case i > 0 && !strings.Contains(entry, "://"):
			entry = nodes[0].Scheme + "://" + entry
		}
		if !isServerURL(entry, schemes...) {
			return nil, notURL
		}
		u, err := url.Parse(entry)
		if err != nil {
			return nil, notURL
		}
		nodes = append(nodes, u)
	}
	first := nodes[0]
	path, rawPath := first.Path, first.RawPath
	for i, u := range nodes {
		switch {
		case u.Scheme != first.Scheme:
			return nil, "has nodes with and without TLS"
		case slices.ContainsFunc(nodes[:i], func(other *url.URL) bool { return strings.EqualFold(other.Host, u.Host) }):
			return nil, "names a node twice"
		case u.User != nil && (first.User == nil || u.User.String() != first.User.String()):
			return nil, "has another user or password for one node than for the first"
		case u.Path != "" && path == "":
			path, rawPath = u.Path, u.RawPath
		case u.Path != "" && strings.Trim(u.Path, "/") != strings.Trim(path, "/"):
			return nil, "has another virtual host or path for one node than for the others"
		}
	}
	for _, u := range nodes {
		u.User, u.Path, u.RawPath = first.User, path, rawPath
		if u.RawQuery == "" {
			query := first.Query()
			query.Del("server_name_indication")
			u.RawQuery = query.Encode()
		}
	}
	return nodes, ""
}

// completeNodes returns a list of nodes with every URL complete; text as it is when it is one URL, or no list.
func completeNodes(text Secret, schemes ...string) Secret {
	nodes, wrong := parseNodes(string(text), schemes...)
	if wrong != "" || len(nodes) == 1 {
		return text
	}
	complete := make([]string, len(nodes))
	for i, u := range nodes {
		complete[i] = strings.ReplaceAll(u.String(), ",", "%2C") // such as one in the password
	}
	return Secret(strings.Join(complete, ","))
}

// nodesRule is the rule for a variable that holds a URL, or several of one cluster. what is what it should be: "an AMQP
// URL".
func nodesRule(text Secret, variable, what, fix string, schemes ...string) rule {
	if !strings.Contains(string(text), ",") {
		return rule{isServerURL(string(text), schemes...), variable, "is not " + what, fix}
	}
	_, wrong := parseNodes(string(text), schemes...)
	return rule{wrong == "", variable, wrong,
		fix + "; several nodes are separated by commas, with user, password and virtual host once or in each " +
			"(a comma in a password is %2C)"}
}

// splitHosts returns the entries of a list of hosts; nil when text is empty.
func splitHosts(text string) []string {
	if text == "" {
		return nil
	}
	hosts := strings.Split(text, ",")
	for i := range hosts {
		hosts[i] = unbracketed(strings.TrimSpace(hosts[i]))
	}
	return hosts
}

// hostPort returns the parts of HOST or HOST:PORT, with port in place of one that is missing. ok is false for anything
// else.
func hostPort(text string, port int) (host string, number int, ok bool) {
	host, own, err := net.SplitHostPort(text)
	if err != nil {
		return text, port, text != "" && isHostAlone(text)
	}
	n, err := strconv.ParseUint(own, 10, 16)
	return host, int(n), err == nil && n > 0 && host != "" && isHostAlone(host)
}
