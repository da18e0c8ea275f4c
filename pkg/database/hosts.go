package database

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// othersTimeout is how long the other hosts may take once one is found that takes writes: longer than it takes a kernel
	// to send its first packet again.
	othersTimeout = 1500 * time.Millisecond
	// roundTimeout is how long all hosts together may take.
	roundTimeout = connectTimeout + checkTimeout
)

var (
	// errReadOnlyServer is why a connection to a standby is of no use.
	errReadOnlyServer = errors.New("the server is read-only")
	// errReplaced is why a connection to an old primary is of no use: the new one never gets what is written there.
	errReplaced = errors.New("the server was replaced by one that has been promoted")
)

// hostsOf returns a connector for each host of config, which tries what config has for this host: with TLS and without.
func hostsOf(config *pgx.ConnConfig) (hosts []driver.Connector) {
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	for i := 0; i < len(all); {
		one := config.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = all[i].Host, all[i].Port, all[i].TLSConfig, nil
		for i++; i < len(all) && all[i].Host == one.Host && all[i].Port == one.Port; i++ {
			one.Fallbacks = append(one.Fallbacks, all[i])
		}
		if one.ValidateConnect != nil { // target_session_attrs
			one.ValidateConnect = takesWrites
		}
		hosts = append(hosts, stdlib.GetConnector(*one, stdlib.OptionShouldPing(
			func(context.Context, stdlib.ShouldPingParams) bool { return false }))) // postgresConn checks with a limit
	}
	return hosts
}

// takesWrites returns an error when the server does not take writes now.
func takesWrites(ctx context.Context, conn *pgconn.PgConn) error {
	err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
	if err != nil && ctx.Err() == nil && !conn.IsClosed() {
		return errReadOnlyServer
	}
	return err
}

// choice is the host that all connections of one generation lead to.
type choice struct {
	at         int // its index
	generation int64
}

// dial connects to the host that is chosen, and chooses again when that one cannot be connected to. A connection that
// took so long that another host has been chosen meanwhile, or is about to be, is closed: it would lead to a second truth.
func (c *connector) dial(ctx context.Context) (driver.Conn, int64, error) {
	for failed := false; ; {
		chosen, err := c.chosen(ctx)
		if err != nil {
			return nil, 0, err
		}
		conn, err := c.hosts[chosen.at].Connect(ctx)
		if err == nil {
			if now := c.current(); len(c.hosts) == 1 || now != nil && *now == *chosen {
				return conn, chosen.generation, nil
			}
			_ = conn.Close() // nothing has been said on it
			continue
		}
		if !errors.Is(ctx.Err(), context.Canceled) {
			c.choice.CompareAndSwap(chosen, &choice{at: chosen.at, generation: -1})
		}
		if len(c.hosts) == 1 || failed || ctx.Err() != nil {
			return nil, 0, err
		}
		failed = true
	}
}

// current returns the choice of the present generation, nil when all hosts have to be asked.
func (c *connector) current() *choice {
	if now := c.choice.Load(); now != nil && now.generation == c.generation.Load() {
		return now
	}
	return nil
}

// chosen returns the current choice, after a round when there is none. All callers share one round, which ends in its own
// time: it outlives the caller who began it.
func (c *connector) chosen(ctx context.Context) (*choice, error) {
	if len(c.hosts) == 1 {
		return &choice{generation: c.generation.Load()}, nil
	}
	if now := c.current(); now != nil {
		return now, nil
	}
	round := c.rounds.DoChan("", func() (any, error) {
		if c.current() != nil { // the last round has just ended
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
		defer cancel()
		return nil, c.choose(ctx)
	})
	select {
	case outcome := <-round:
		return c.choice.Load(), outcome.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// choose asks all hosts, and stores the choice. After an error the next caller asks them again, even when the host of the
// last choice can be connected to by then: it may have come back as an old primary.
func (c *connector) choose(ctx context.Context) error {
	before, generation := c.choice.Load(), c.generation.Load()
	at, err := c.newest(ctx)
	switch {
	case err != nil && before != nil:
		at, generation = before.at, -1
	case err != nil:
		return err
	case before != nil && before.at != at: // no connection to the other host is of further use
		generation = c.generation.Add(1)
	}
	c.choice.Store(&choice{at: at, generation: generation})
	return err
}

// origin is where the data of a server come from: a promotion begins a timeline, with a higher number, in the same system.
type origin struct {
	system   string
	timeline int64
}

// isBefore reports whether o was left by a promotion that led to other.
func (o origin) isBefore(other origin) bool {
	return o.system == other.system && o.timeline < other.timeline
}

// newest returns the index of the host that takes writes. Of several it is the one promoted last: a server that takes
// writes on an earlier timeline has been replaced and does not know it, and is not used even when it is the only one.
func (c *connector) newest(ctx context.Context) (int, error) {
	type answer struct {
		at     int
		origin origin
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(c.hosts))
	for at, host := range c.hosts {
		go func() {
			from, err := askOrigin(ctx, host)
			answers <- answer{at, from, err}
		}()
	}
	var usable []answer
	var refusals []error
	var enough <-chan time.Time
	for pending := len(c.hosts); pending > 0; {
		select {
		case <-enough:
			cancel() // the rest respond with an error now
		case a := <-answers:
			pending--
			switch {
			case a.err == nil && a.origin.isBefore(c.latest):
				refusals = append(refusals, errReplaced)
			case a.err != nil:
				refusals = append(refusals, a.err)
			default:
				if usable = append(usable, a); enough == nil {
					enough = time.After(othersTimeout)
				}
			}
		}
	}
	if len(usable) == 0 {
		return 0, fmt.Errorf("none of %d hosts can be used: %w", len(c.hosts), errors.Join(refusals...))
	}
	usable = slices.DeleteFunc(slices.Clone(usable), func(a answer) bool {
		return slices.ContainsFunc(usable, func(other answer) bool { return a.origin.isBefore(other.origin) })
	})
	best := slices.MinFunc(usable, func(a, b answer) int { return a.at - b.at })
	if best.origin.timeline > 0 {
		c.latest = best.origin
	}
	return best.at, nil
}

// askOrigin returns where the data of a host come from, by a connection of its own. It is zero when the server does not
// know such things, for example a service with a storage of its own.
func askOrigin(ctx context.Context, host driver.Connector) (from origin, err error) {
	conn, err := host.Connect(ctx)
	if err != nil {
		return from, err
	}
	defer func() { _ = conn.Close() }()
	pgx, ok := conn.(*stdlib.Conn)
	if !ok {
		return from, fmt.Errorf("database: the driver returned a %T", conn)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	const query = "SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"
	results, err := pgx.Conn().PgConn().Exec(ctx, query).ReadAll()
	if refusal := (*pgconn.PgError)(nil); errors.As(err, &refusal) && !isPassing(refusal) {
		return from, nil
	}
	if err != nil || len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2 {
		return from, err
	}
	row := results[0].Rows[0]
	timeline, err := strconv.ParseInt(string(row[1]), 16, 64)
	if err != nil {
		return from, nil // nor does this one
	}
	return origin{string(row[0]), timeline}, nil
}

// isPassing reports whether a refusal is due to the state of the server, and not to what it was asked.
func isPassing(e *pgconn.PgError) bool {
	return cmp.Or(e.SeverityUnlocalized, e.Severity) != "ERROR" || slices.Contains([]string{"53", "57", "58", "XX"}, e.Code[:min(2, len(e.Code))])
}
