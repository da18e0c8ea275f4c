package app

import (
	"context"

	"github.com/smap-platform/identity/pkg/lifecycle"
)

// process is a binary, as a bit, so that the table below can name several.
type process int

const (
	inAPI process = 1 << iota
	inConsumer
	inStandalone
	onServers  = inAPI | inConsumer
	everywhere = inAPI | inConsumer | inStandalone
)

// name is how the process calls itself in logs, traces and connections.
func (p process) name() string {
	return map[process]string{inAPI: "api", inConsumer: "consumer", inStandalone: "standalone"}[p]
}

// stage says when a role stops: serving first, then background, then base.
type stage int

const (
	serving    stage = iota // takes work in: requests and deliveries
	background              // works by itself, and for those that serve
	base                    // what the others stand on
	stages
)

// roles is what runs where. All three binaries start from it and stop in its order.
var roles = []struct {
	name  string
	stage stage
	runs  process
	role  func(a *App) run
}{
	{"http", serving, inAPI | inStandalone, func(a *App) run { return a.serve(a.web, a.apiListener) }},
	{"internal http", serving, inAPI | inStandalone, func(a *App) run { return a.serveInternal }},
	{"monitor", serving, inConsumer | inStandalone, func(a *App) run { return a.serve(a.monitor, a.monitorListener) }},
	{"console", serving, inConsumer, func(a *App) run { return a.serveOperations }},
	{"consumer", serving, inConsumer | inStandalone, func(a *App) run { return a.consumer.Run }},
	{"legacy consumer", serving, inConsumer, func(a *App) run { return a.legacy.readOldQueue }},

	{"dead letter desk", background, inConsumer, func(a *App) run { return a.runDesk }},
	{"mail connections", background, inConsumer | inStandalone, func(a *App) run { return a.closeMailer }},
	{"relay", background, everywhere, func(a *App) run { return a.relay.Run }},
	{"progress publisher", background, everywhere, func(a *App) run { return a.progress.updates.Run }},
	{"progress subscriber", background, inAPI | inStandalone, func(a *App) run { return a.progress.watcher.Run }},
	{"lane pauses", background, inConsumer | inStandalone, func(a *App) run { return a.followPauses }},
	{"sweeper", background, inConsumer | inStandalone, func(a *App) run { return a.sweeper.Run }},
	{"scheduler", background, inConsumer | inStandalone, func(a *App) run { return a.schedule }},
	{"repairer", background, inConsumer | inStandalone, func(a *App) run { return a.repairer.Run }},
	{"console samples", background, inConsumer, func(a *App) run { return a.sampleOperations }},
	{"purge", background, inConsumer | inStandalone, func(a *App) run { return a.purge }},
	{"legacy relay", background, onServers, func(a *App) run { return a.legacy.relay.Run }},

	{"rabbitmq publisher", base, onServers, func(a *App) run { return a.publisher.Run }},
	{"legacy publisher", base, onServers, func(a *App) run { return a.legacy.connection.Run }},
	{"heartbeat", base, onServers, func(a *App) run { return a.heartbeat.Run }},
	{"database clock", base, everywhere, func(a *App) run { return a.clock.Run }},
	{"embedded redis", base, inStandalone, func(a *App) run { return a.passTime }},
	{"inbox", base, inStandalone, func(a *App) run { return a.embedded.inbox.Run }},
}

// run works until ctx ends.
type run = func(ctx context.Context) error

// Run runs the process's roles until ctx ends, and returns nil after an orderly stop. An App runs once.
func (a *App) Run(ctx context.Context) error {
	defer a.close()
	ordered := make([][]lifecycle.Role, stages)
	for _, r := range roles {
		if r.runs&a.process != 0 {
			ordered[r.stage] = append(ordered[r.stage], lifecycle.Role{Name: r.name, Run: r.role(a)})
		}
	}
	return lifecycle.Run(ctx, a.log, a.cfg.Service.ShutdownTimeout, ordered...)
}
