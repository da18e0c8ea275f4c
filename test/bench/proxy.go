package main

import (
	"net/url"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between one service and one server.
type proxy struct{ *toxiproxy.Proxy }

func startProxy(name, upstream string) (*proxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxy{toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)}
	return p, p.Start()
}

// refuse cuts every connection and takes no new one: the server is gone.
func (p *proxy) refuse() error {
	p.Stop()
	return nil
}

// freeze lets no byte through any more while every connection looks alive: the server is under SIGSTOP.
func (p *proxy) freeze() error {
	for _, stream := range []string{"upstream", "downstream"} {
		_, err := p.Toxics.AddToxicJson(strings.NewReader(
			`{"name":"` + stream + `","type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`))
		if err != nil {
			return err
		}
	}
	return nil
}

// throughProxies puts a proxy before each server that is not the database.
func (e environment) throughProxies(redis, smtp string) (map[string]*proxy, error) {
	broker, err := url.Parse(e["RABBITMQ_URL"])
	if err != nil {
		return nil, err
	}
	proxies := map[string]*proxy{}
	for name, upstream := range map[string]string{"rabbitmq": broker.Host, "redis": redis, "smtp": smtp} {
		if proxies[name], err = startProxy(name, upstream); err != nil {
			return proxies, err
		}
	}
	broker.Host = proxies["rabbitmq"].Listen
	e["RABBITMQ_URL"] = broker.String()
	e["REDIS_HOST"] = proxies["redis"].Listen // host:port is allowed there
	return proxies, e.mailTo(proxies["smtp"].Listen)
}
