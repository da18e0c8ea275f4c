package main

import (
	"context"
	"fmt"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is the way from one role to one kind of server, through a proxy for each address.
type link struct {
	name    string
	proxies []*toxiproxy.Proxy
}

// links are all of them.
type links struct {
	server *toxiproxy.ApiServer
	byName map[string]*link
}

func newLinks() *links {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	return &links{server: server, byName: map[string]*link{}}
}

// to adds a proxy before an address to the link of that name and returns where it listens.
func (l *links) to(name, address string) (listen string, err error) {
	if l.byName[name] == nil {
		l.byName[name] = &link{name: name}
	}
	way := l.byName[name]
	proxy := toxiproxy.NewProxy(l.server, fmt.Sprintf("%s-%d", name, len(way.proxies)), "127.0.0.1:0", address)
	if err := proxy.Start(); err != nil {
		return "", fmt.Errorf("a proxy before %s: %w", address, err)
	}
	way.proxies = append(way.proxies, proxy)
	return proxy.Listen, nil
}

func (l *links) close() {
	for _, way := range l.byName {
		for _, p := range way.proxies {
			p.Stop()
		}
	}
}

// toxics are what can be wrong with a link.
var toxics = map[string][]string{
	"200 ms": {`"type":"latency","stream":"downstream","attributes":{"latency":200,"jitter":20}`},
	"black hole": {
		`"type":"timeout","stream":"upstream","attributes":{"timeout":0}`,
		`"type":"timeout","stream":"downstream","attributes":{"timeout":0}`,
	},
	// Every connection ends after so many bytes, which is in the middle of something.
	"cut in mid-frame": {
		`"type":"limit_data","stream":"upstream","attributes":{"bytes":%d}`,
		`"type":"limit_data","stream":"downstream","attributes":{"bytes":%d}`,
	},
	"1 KB/s": {
		`"type":"bandwidth","stream":"upstream","attributes":{"rate":1}`,
		`"type":"bandwidth","stream":"downstream","attributes":{"rate":1}`,
	},
}

// spoil adds the toxics of that name to all connections of the link, and to those that come.
func (w *link) spoil(toxic string, bytes int) error {
	for _, p := range w.proxies {
		for i, fields := range toxics[toxic] {
			if strings.Contains(fields, "%d") {
				fields = fmt.Sprintf(fields, bytes)
			}
			toxic := fmt.Sprintf(`{"name":"t%d",%s}`, i, fields)
			if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return nil
}

// heal removes them.
func (w *link) heal(ctx context.Context) {
	for _, p := range w.proxies {
		p.Toxics.ResetToxics(ctx)
	}
}

// once is to for an address that has no proxy in that link yet; of another it returns where its proxy listens.
func (l *links) once(name, address string) (listen string, err error) {
	if way := l.byName[name]; way != nil {
		for _, p := range way.proxies {
			if p.Upstream == address {
				return p.Listen, nil
			}
		}
	}
	return l.to(name, address)
}
