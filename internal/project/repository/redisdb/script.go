package redisdb

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/smap-platform/identity/internal/project"
)

//go:embed begin.lua
var beginSource string

//go:embed finish.lua
var finishSource string

//go:embed init.lua
var initSource string

//go:embed total.lua
var totalSource string

//go:embed mark.lua
var markSource string

//go:embed fail.lua
var failSource string

//go:embed check.lua
var checkSource string

//go:embed signalled.lua
var signalledSource string

//go:embed forget.lua
var forgetSource string

//go:embed open.lua
var openSource string

var (
	initScript      = newScript(beginSource + initSource + finishSource)
	totalScript     = newScript(beginSource + totalSource + finishSource)
	markScript      = newScript(beginSource + markSource + finishSource)
	failScript      = newScript(beginSource + failSource + finishSource)
	checkScript     = newScript(beginSource + checkSource + finishSource)
	signalledScript = newScript(beginSource + signalledSource)
	forgetScript    = newScript(forgetSource)
	openScript      = newScript(openSource)
)

// script is the text of a script and its digest.
type script struct {
	text, digest any
}

func newScript(text string) script { return script{text, redis.NewScript(text).Hash()} }

// run runs a script by its digest, and by its text if the server does not have it. It is redis.Script.Run with half the
// allocations: the caller leaves args[:3] free.
func (s *Store) run(ctx context.Context, script script, keys int, args []any) *redis.Cmd {
	args[0], args[1], args[2] = "evalsha", script.digest, keys
	cmd := redis.NewCmd(ctx, args...)
	_ = s.client.Process(ctx, cmd) // cmd has the error
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		args[0], args[1] = "eval", script.text
		cmd = redis.NewCmd(ctx, args...)
		_ = s.client.Process(ctx, cmd)
	}
	return cmd
}

// arguments returns the arguments common to all operations, with room for run's and for more of the operation's own.
func arguments(projectID string, more int) []any {
	keys := keys(projectID)
	args := make([]any, 9, 9+more)
	for i, key := range keys {
		args[3+i] = key
	}
	args[8] = projectID
	return args
}

// change runs an operation and returns the project after it.
func (s *Store) change(
	ctx context.Context, doing string, script script, projectID string, args []any,
) (project.Change, error) {
	reply, err := s.run(ctx, script, 5, args).Text()
	if err != nil {
		return project.Change{}, asUnavailable(ctx, doing, err)
	}
	change, err := decode(projectID, reply)
	return change, asUnavailable(ctx, doing, err)
}

// The flags in a reply.
const (
	crossed = 1 << iota
	unsignalled
	refused
)

// decode parses the reply that finish.lua describes.
func decode(projectID, reply string) (project.Change, error) {
	p := project.Progress{ProjectID: projectID, Status: project.StatusNotFound}
	if reply == "" {
		return project.Change{Progress: p}, nil
	}
	var n [5]int64 // total, done, errors, flags, length of the status
	for i := range n {
		number, rest, more := strings.Cut(reply, " ")
		parsed, err := strconv.ParseInt(number, 10, 64)
		if err != nil || !more {
			return project.Change{}, fmt.Errorf("value %d of the script's reply is not a number", i+1)
		}
		n[i], reply = parsed, rest
	}
	if n[4] < 0 || n[4] > int64(len(reply)) {
		return project.Change{}, errors.New("the script's reply is too short for its status")
	}
	p.Status, p.Total, p.Done, p.Errors = parseStatus(reply[:n[4]]), n[0], n[1], n[2]
	return project.Change{
		Progress:    p,
		Owner:       reply[n[4]:],
		Crossed:     n[3]&crossed != 0,
		Unsignalled: n[3]&unsignalled != 0,
		Refused:     n[3]&refused != 0,
	}, nil
}

// parseStatus returns the meaning of a stored status. A hash that another service created has none at first.
func parseStatus(status string) project.Status {
	switch s := project.Status(status); s {
	case "":
		return project.StatusInitializing
	case project.StatusWaiting:
		return project.StatusProcessing
	default:
		return s
	}
}

// asUnavailable returns [project.ErrUnavailable] with err as its cause, and with the end of ctx if it has ended; it
// returns nil if err is nil. The client reports a deadline as a timeout of the connection, possibly before the context
// does.
func asUnavailable(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	ended := ctx.Err()
	if deadline, set := ctx.Deadline(); ended == nil && set && !time.Now().Before(deadline) {
		ended = context.DeadlineExceeded
	}
	if ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return project.ErrUnavailable.WithCause(fmt.Errorf("%s in Redis: %w", doing, err))
}
